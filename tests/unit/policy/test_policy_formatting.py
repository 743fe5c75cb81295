"""One layout: idempotent, nothing lost but blanks, data and comments as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer.policy.canonical import canonical_json
from enforcer.policy.cases import CaseFile, documents
from enforcer.policy.documents import MODELS
from enforcer.policy.findings import Findings
from enforcer.policy.formatting import formatted
from enforcer.policy.formatting import order as orders
from enforcer.policy.formatting.layout import comments_of
from enforcer.policy.source import plain, read

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted((ROOT / "policies").rglob("*.yaml"))


def fmt(text, name="p.yaml"):
    """The layout of a source that can be read."""
    found, findings = formatted(name, text)
    assert found is not None, [str(each) for each in findings]
    return found


def data(text):
    """What a source says."""
    findings = Findings()
    found = [canonical_json(plain(each.node)) for each in read("p.yaml", text, findings)]
    return None if findings.error_count else found


# --- texts as people write them: any indentation, any style, comments and blank lines anywhere -------------------

SCALARS = st.sampled_from([
    "a", "b c", "1", "2.50", "true", "null", "~", '"x"', "'y'", "'it''s'", '"a\\nb"', "'\"q\" in r'", "x#y", '"# no"',
    "user.id == 'u'", "-1", "''",
])  # fmt: skip
BLOCKS = st.sampled_from([
    ("|-", ["!has(x) &&", "  y", "", "// why", "z"]), ("|", ["one", "# no comment", "two"]), (">-", ["folded", "text"]),
    (">", ["a", "", "  b"]), ("|+", ["kept", ""]), ("|- # beside", ["x"]),
])  # fmt: skip
KEYS = ["apiVersion", "kind", "spec", "rules", "id", "when", "k1", '"k 2"', "'k3'"]


@st.composite
def flow(draw, depth):
    """A value in braces, perhaps over several lines, perhaps with a comment in it."""
    if depth == 0 or draw(st.booleans()):
        return draw(SCALARS)
    gap = draw(st.sampled_from([", ", ",", ",\n        ", ", # in it\n        "]))
    parts = [draw(flow(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    if draw(st.booleans()):
        keys = draw(st.lists(st.sampled_from(KEYS), unique=True, min_size=3, max_size=3))
        return "{" + gap.join(f"{k}: {v}" for k, v in zip(keys, parts, strict=False)) + "}"
    return "[" + gap.join(parts) + "]"


@st.composite
def noise(draw, indent):
    """Comments and blank lines between two lines, at any depth."""
    found = []
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.sampled_from([0, indent, indent + 2]))
        found.append(draw(st.sampled_from(["", " " * at + f"# c{draw(st.integers(0, 9))}"])))
    return found


@st.composite
def block(draw, indent, depth):
    """The lines of a map or list at *indent*."""
    lines = []
    is_map = draw(st.booleans())
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, min_size=1, max_size=4))
    for key in keys:
        lines += draw(noise(indent))
        head = " " * indent + (f"{key}:" if is_map else "-")
        beside = draw(st.sampled_from(["", "", "", "  # beside"]))
        choice = draw(st.integers(0, 3 if depth else 2))
        if choice == 3:
            inner = draw(block(indent + draw(st.integers(1, 4)), depth - 1))
            if is_map or beside or draw(st.booleans()):
                lines += [head + beside, *inner]
            elif inner[0].strip() and not inner[0].lstrip().startswith("#"):
                column = len(inner[0]) - len(inner[0].lstrip())
                lines += [head + " " * (column - indent - 1) + inner[0].lstrip(), *inner[1:]]
            else:
                lines += [head, *inner]
        elif choice == 2:
            header, body = draw(BLOCKS)
            lines += [
                f"{head} {header}",
                *(" " * (indent + 2) + each if each else "" for each in body),
            ]
        elif choice == 1:
            lines.append(f"{head} {draw(flow(2))}{beside}")
        else:
            lines.append(f"{head} {draw(SCALARS)}{beside}")
    return lines


@st.composite
def streams(draw):
    """One document or two."""
    found = []
    for at in range(draw(st.integers(1, 2))):
        found += ["---"] * (at or draw(st.integers(0, 1))) + draw(block(0, 3)) + draw(noise(0))
    return "\n".join(found) + "\n"


@given(streams())
@example("-- a\n- a\n- a  # beside\n")
@settings(max_examples=400, deadline=None)
def test_the_layout_of_a_layout_is_itself_and_says_the_same(text):
    """
    Parse after print is the identity on documents; every comment is still there; a second run changes nothing.
    """
    before = data(text)
    if before is None:
        return
    once = fmt(text)
    assert data(once) == before
    assert comments_of(once) == comments_of(text)
    assert fmt(once) == once
    assert all(line == line.rstrip() for line in once.split("\n") if "|" not in line)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_ready_policies_are_laid_out(path):
    """
    What ships has the layout that the formatter gives.
    """
    assert fmt(path.read_text()) == path.read_text()


UGLY = """\
# yaml-language-server: $schema=x

kind:   Policy
apiVersion: 'enforcer/v1'
metadata: {tenant: acme,
  id: p}
spec:
      rules:
      # the first
      - then: deny   # hard
        id: r
        when: |-
            !has(x) &&   // why
              y


        condition: {operator: or, conditions: [{operator: eq, field: project.environment, value: production}, \
{operator: eq, field: team.tier, value: 'free'}]}
      priority: 3
      # the end of the spec
# the end of the file
"""
TIDY = """\
# yaml-language-server: $schema=x

apiVersion: "enforcer/v1"
kind: Policy
metadata: {id: p, tenant: acme}
spec:
  priority: 3
  # the end of the spec
  rules:
    # the first
    - id: r
      when: |-
        !has(x) &&   // why
          y

      condition:
        operator: or
        conditions:
          - {operator: eq, field: project.environment, value: production}
          - {operator: eq, field: team.tier, value: "free"}
      then: deny  # hard
# the end of the file
"""


def test_an_example():
    """
    Order, indentation, quotes and long lines are settled; comments go with what they stand at.
    """
    assert fmt(UGLY) == TIDY


def test_keys_of_data_keep_their_order():
    """
    Labels, literals, tables of limits and requests are their author's.
    """
    text = (
        "kind: Policy\nmetadata: {id: p, labels: {z: a, a: z}}\n"
        "spec:\n  budgets:\n    - {id: b, limit_usd: {by: team.tier, z: 1, default: 2}}\n"
    )
    assert fmt(text) == text
    values = "kind: Values\nspec: {z: [b, a], a: 1}\n"
    assert fmt(values) == values


def test_json_stays_json():
    """
    Two blanks a level; numbers keep their digits.
    """
    found = fmt('{"b":[1,2.50],\n"a":{}}', "p.json")
    assert found == '{\n  "b": [\n    1,\n    2.5\n  ],\n  "a": {}\n}\n'
    assert fmt(found, "p.json") == found
    assert json.loads(found) == {"b": [1, 2.5], "a": {}}


def test_a_source_without_documents_keeps_its_comments():
    """
    Comments alone are no document, and no reason to lose them.
    """
    assert fmt("# only this\n\n\n") == "# only this\n"
    assert fmt("") == ""


@pytest.mark.parametrize("text", ["a: [1, 2\nb: }", "a: &x 1", "a: !t 1", "a: 1\na: 2"])
def test_what_cannot_be_read_is_left_alone(text):
    """
    The reader's finding, and no text.
    """
    found, findings = formatted("p.yaml", text)
    assert found is None
    assert findings[0].span.line


def test_the_order_knows_every_field():
    """
    A field that joins the language has its place in the order.
    """
    for kind, model in MODELS.items():
        spec = model.model_fields["spec"].annotation
        fields = getattr(spec, "model_fields", {})
        assert set(fields) <= set(orders.KINDS[kind].get("spec", ())), kind
    assert set(CaseFile.model_fields) == set(orders.TESTS[""])
    assert set(documents.Case.model_fields) == set(orders.TESTS["cases"])
    assert set(documents.Expect.model_fields) == set(orders.TESTS["expect"])
