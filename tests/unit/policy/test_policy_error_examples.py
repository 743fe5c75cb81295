"""The examples of docs/errors.md: what is wrong has the code of its section, what is mended has no finding."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from policy_sources import spec

from enforcer import policy

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "errors.md").read_text()
EXAMPLE = re.compile(
    r"^## (?P<code>ENF\d{4}) (?:(?!^#).*\n)*?Wrong:\n\n(?P<wrong>(?:    .*\n)+)\nMended:\n\n(?P<mended>(?:    .*\n)+)",
    re.MULTILINE,
)
EXAMPLES = [
    (each["code"], textwrap.dedent(each["wrong"]), textwrap.dedent(each["mended"]))
    for each in EXAMPLE.finditer(PAGE)
]
# Too large for a page, of `policy import` alone, or of folders: shown how it is mended only.
WITHOUT = {"ENF0102", "ENF0103", "ENF0104", "ENF0602", "ENF0702", "ENF0907"}


def whole(text, code):
    """A document: what an example leaves out is what every document has, a rule among it."""
    if text.startswith(("apiVersion", "metadata")) or (code == "ENF0113" and "rules" not in text):
        return text
    if text.startswith("kind"):
        head, _, rest = text.partition("\n")
        return f"apiVersion: enforcer/v1\n{head}\nmetadata: {{id: acme}}\n{rest}"
    has_effect = re.search(r"^(rules|budgets|rate_limits):", text, re.MULTILINE)
    return spec(
        text if has_effect or code == "ENF0506" else f"{text}\nrules: [{{id: r, then: deny}}]"
    )


def codes(text, code):
    """The codes of everything that `policy check` says of an example."""
    found = policy.load(
        [("p.yaml", whole(text, code))],
        prove=True,
        has_redaction_key=False,
        now_us=1_790_000_000_000_000,  # 2026-09-21
    )
    return {each.code for each in found.findings}


def test_every_code_of_documents_has_an_example():
    """Each section shows what is wrong and how it is mended; those of proofs do so in their own form."""
    wanted = {each for each in policy.CODES if not each.startswith(("ENF08", "ENF20"))}
    assert {code for code, _, _ in EXAMPLES} == wanted - WITHOUT


@pytest.mark.parametrize(("code", "wrong", "mended"), EXAMPLES, ids=[each[0] for each in EXAMPLES])
def test_the_examples_are_wrong_and_mended(code, wrong, mended):
    """What is wrong yields exactly its code, what is mended nothing."""
    assert codes(wrong, code) == {code}
    assert codes(mended, code) == set()
