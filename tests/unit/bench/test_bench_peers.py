"""The rules of the benchmark in another engine's language."""

import json
import re
from pathlib import Path

from ruamel.yaml import YAML

import enforcer.bench

BENCH = Path(enforcer.bench.__file__).parent


def test_the_twin_in_rego_has_the_same_twenty_rules_in_the_same_order():
    """What is compared is the same work: no rule is left out on either side, and none is told twice."""
    ours = [
        f"{document['metadata']['id']}/{rule['id']}"
        for document in YAML(typ="safe").load_all((BENCH / "policies.yaml").read_text())
        if document["kind"] == "Policy"
        for rule in document["spec"].get("rules", ())
    ]
    text = (BENCH / "peers" / "rules.rego").read_text()
    assert re.findall(r'^matched contains "([^"]+)" if', text, re.MULTILINE) == ours
    assert len(ours) == 20


def test_every_field_that_the_twin_reads_is_in_its_input():
    """An absent field would end a rule of the twin before its comparison, and flatter it."""
    text = (BENCH / "peers" / "rules.rego").read_text()
    given = json.loads((BENCH / "peers" / "input.json").read_text())
    for first, second in set(re.findall(r"input\.(\w+)\.(\w+)", text)):
        assert second in given[first]
