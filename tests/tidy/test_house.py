"""The repository tests itself: names, sizes, reasons, and that its parts agree with each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import orjson
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "enforcer").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
GENERATED = {"generated.py", "generated_json.py"}

MODULE_LINES_MAX = 500

# Ratchet: a module may leave this list, none may enter it or grow.
LARGE_MODULES: dict[str, int] = {}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def each_test(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and node.name.startswith("test_"):
            yield node


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_every_test_says_its_behaviour(path):
    """The docstrings of the tests read as the specification: each test has one."""
    silent = [node.name for node in each_test(path) if not ast.get_docstring(node)]
    assert not silent


def test_test_files_have_names_of_their_own():
    """No two test files have one name, for pytest imports them by it."""
    names = [path.name for path in TESTS]
    assert sorted(names) == sorted(set(names))


def test_every_module_opens_with_what_it_is():
    """The first lines of a module say what it is for."""
    silent = [relative(p) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent


def test_modules_stay_small():
    """A module that has grown beyond a sitting's reading is two modules."""
    for path in SOURCES:
        if path.name in GENERATED:
            continue
        lines = path.read_text().count("\n")
        assert lines <= LARGE_MODULES.get(relative(path), MODULE_LINES_MAX), relative(path)


def test_every_exception_from_a_rule_has_its_reason():
    """A ``noqa`` says which rule and why."""
    bare = []
    for path in [*SOURCES, *TESTS]:
        if path.name in GENERATED:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.search(r"#\s*noqa(?P<rest>.*)$", line)
            if (
                found
                and path != Path(__file__)
                and not re.match(r": [A-Z0-9, ]+ (—|-) \S", found["rest"])
            ):
                bare.append(f"{relative(path)}:{number}")
    assert not bare


def test_no_names_that_say_nothing():
    """No module is called utils, common, helpers, misc or manager."""
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "base"}
    assert not [relative(p) for p in SOURCES if p.stem in vague]


def test_topics_schemas_and_topology_agree():
    """Every topic of the topology has a specification, every value it names a schema, and none is left over."""
    from enforcer.stream.topology import ENFORCEMENT

    yaml = YAML(typ="safe")
    specs = {p.stem: yaml.load(p.read_text()) for p in (ROOT / "topics").glob("*.yaml")}
    schemas = {p.stem for p in (ROOT / "schemas" / "avro").glob("*.avsc")}
    named = {value for spec in specs.values() for value in spec["values"]}

    assert set(ENFORCEMENT.topics()) == set(specs)
    assert named == schemas
    assert {name for name, spec in specs.items() if spec["partitions"] == "inputs"} >= {
        "requests", "usage", "leases", "decisions", "audit", "state", "calls",
    }  # fmt: skip


def test_every_topic_and_schema_is_documented():
    """docs/wire.md knows every topic and every record."""
    text = (ROOT / "docs" / "wire.md").read_text()
    for path in (ROOT / "topics").glob("*.yaml"):
        assert path.stem in text, path.stem
    for path in (ROOT / "schemas" / "avro").glob("*.avsc"):
        assert orjson.loads(path.read_bytes())["name"] in text or path.stem in text, path.stem


def test_documents_name_files_that_exist():
    """A link or a path in a document leads somewhere."""
    broken = []
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        text = document.read_text()
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        paths = re.findall(
            r"[`*]((?:tests|docs|enforcer|schemas|topics|policies)/[\w/.-]+\w)", text
        )
        broken += [
            f"{relative(document)}: {link}"
            for link in links
            if not (document.parent / link).exists()
        ]
        broken += [f"{relative(document)}: {path}" for path in paths if not (ROOT / path).exists()]
    assert not broken


def test_the_agent_diagram_shows_every_state():
    """The states drawn in the architecture are those of the transition table."""
    from enforcer.stream.agent import TRANSITIONS

    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    assert not [state for state in TRANSITIONS if state not in text]


def test_every_verb_has_its_module():
    """Each verb that the command line promises is there."""
    from enforcer.cli.verbs import VERBS

    assert not [verb.name for verb in VERBS if not verb.exists]


def test_nothing_of_one_machine():
    """No path of a machine, no registry's host, no credential stands in the project."""
    machine = re.compile(
        r"(^|[^A-Za-z0-9_.])/(work|root)/|pypi\.org|files\.pythonhosted|registry\.npmjs"
    )
    found = []
    listed = [
        p
        for p in ROOT.rglob("*")
        if p.is_file() and p.suffix in {".py", ".md", ".toml", ".yaml", ".lock", ".txt", ""}
    ]
    for path in listed:
        parts = path.relative_to(ROOT).parts
        if (
            parts[0] in {".git", ".venv", "build", "dist"}
            or "__pycache__" in parts
            or path == Path(__file__)
        ):
            continue
        if parts[0].startswith(".") and parts[0] != ".ci":
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{relative(path)}: {m.group()}" for m in machine.finditer(text)]
    assert not found
