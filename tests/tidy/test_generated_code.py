"""What is generated is what the generator makes, and what was released stays readable."""

import contextlib
import json
from pathlib import Path

import pytest

from enforcer import events
from enforcer.events import generate, generated
from enforcer.events.generation import schemas as model

GOLDEN = Path(__file__).parents[1] / "golden"
ALL = model.load(generate.SCHEMAS)
EXAMPLES = sorted(path.name.removesuffix(".json") for path in GOLDEN.glob("*.*.json"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (generate.AVRO_TARGET, generate.avro_text),
        (generate.JSON_TARGET, generate.json_text),
        (generate.DOCS, generate.docs_text),
    ],
    ids=["classes and Avro", "JSON", "docs"],
)
def test_generated_files_are_current(path, text):
    """The committed files are what `python -m enforcer.events.generate` makes."""
    assert path.read_text(encoding="utf-8") == text(), "run python -m enforcer.events.generate"


def test_every_schema_has_both_examples():
    """A full and a minimal example of every schema are on record, and of nothing else."""
    expected = {f"{schema.file}.{kind}" for schema in ALL for kind in ("full", "minimal")}

    assert set(EXAMPLES) == expected


@pytest.mark.parametrize("example", EXAMPLES)
def test_golden_bytes_and_json_agree(example):
    """The bytes on record are those of the JSON on record, both ways."""
    value = bytes.fromhex((GOLDEN / f"{example}.avro.hex").read_text())
    text = (GOLDEN / f"{example}.json").read_bytes()
    schema = next(schema for schema in ALL if schema.file == example.split(".")[0])
    record = events.decode(value)

    assert type(record).__name__ == schema.record.name
    assert events.from_json(type(record), text) == record
    assert events.encode(record) == value
    assert json.loads(events.to_json_bytes(record)) == json.loads(text)


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name.endswith(".full")])
def test_every_truncation_of_a_golden_record_is_an_error(example):
    """No prefix of the bytes on record decodes."""
    value = bytes.fromhex((GOLDEN / f"{example}.avro.hex").read_text())
    for end in range(len(value)):
        with pytest.raises(events.CodecError):
            events.decode(value[:end])


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name.endswith(".full")])
def test_every_damaged_byte_of_a_golden_record_is_harmless(example):
    """Each byte on record, replaced, gives a record or a CodecError."""
    value = bytes.fromhex((GOLDEN / f"{example}.avro.hex").read_text())
    for place in range(10, len(value)):
        for byte in (0x01, 0x05, 0x80, 0xFF):
            with contextlib.suppress(events.CodecError):
                events.decode(value[:place] + bytes((byte,)) + value[place + 1 :])


@pytest.mark.parametrize("example", [name for name in EXAMPLES if name.endswith(".full")])
def test_full_examples_leave_nothing_out(example):
    """A full example differs from the default in every field that has one."""
    value = bytes.fromhex((GOLDEN / f"{example}.avro.hex").read_text())
    record = events.decode(value)
    schema = next(schema for schema in ALL if schema.file == example.split(".")[0])
    for field in schema.record.fields:
        if field.default is not None:
            found = getattr(record, field.name)
            assert found not in (None, [], {}, "", 0), f"{example}: {field.name}"


def test_released_schemas_stay_readable():
    """Every fingerprint on record is still decoded, to the record it always was."""
    released = json.loads((GOLDEN / "fingerprints.json").read_text())
    known = {key.hex(): cls.__name__ for key, cls in events.FINGERPRINTS.items()}

    assert released.items() <= known.items()


def test_every_record_of_the_schemas_is_public():
    """Each record's class, and the codecs of those with a schema, are names of `enforcer.events`."""
    names = {record.name for record in model.records(ALL)}
    codecs = {f"{verb}_{schema.file}" for schema in ALL for verb in ("encode", "decode")}

    assert names | codecs <= set(events.__all__)
    assert all(getattr(events, name) is getattr(generated, name) for name in names | codecs)


@pytest.mark.parametrize(
    "example", sorted(p.name.removesuffix(".json") for p in (GOLDEN / "older").glob("*.json"))
)
def test_what_an_older_schema_wrote_is_read_with_defaults(example):
    """Bytes of a schema that was released before read as the newest record, what came later at its default."""
    value = bytes.fromhex((GOLDEN / "older" / f"{example}.avro.hex").read_text())
    text = (GOLDEN / "older" / f"{example}.json").read_bytes()
    record = events.decode(value)

    assert events.from_json(type(record), text) == record
    assert events.encode(record)[:10] != value[:10]
    for end in range(len(value)):
        with pytest.raises(events.CodecError):
            events.decode(value[:end])


def test_every_older_schema_has_examples():
    """Of each file in schemas/avro/older a full and a minimal example are on record."""
    older = [path.stem for path in (generate.SCHEMAS / "older").glob("*.avsc")]
    found = {path.name.removesuffix(".json") for path in (GOLDEN / "older").glob("*.json")}

    assert found == {f"{name}.{kind}" for name in older for kind in ("full", "minimal")}
