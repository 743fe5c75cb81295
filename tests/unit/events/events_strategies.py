"""Hypothesis strategies for every record, made from the schemas as the generator reads them."""

import orjson
from hypothesis import strategies as st

from enforcer.events import generated
from enforcer.events.generate import SCHEMAS
from enforcer.events.generation import schemas as model
from enforcer.events.generation.json_text import _NOT_EMPTY

ALL = model.load(SCHEMAS)
RECORDS = model.records(ALL)

LONGS = st.one_of(
    st.integers(-200, 200),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(1_700_000_000_000_000, 1_800_000_000_000_000),
    st.sampled_from([(1 << 63) - 1, -(1 << 63), 4095, 4096, 8191, 8192, 1 << 14, 1 << 52]),
)
# Long enough, now and then, for lengths of two bytes.
TEXTS = st.one_of(st.text(max_size=12), st.text(max_size=12).map(lambda text: text * 40))
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-1000, 1000), st.text(max_size=5), DOUBLES),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
JSON_TEXTS = JSON_VALUES.map(lambda value: orjson.dumps(value).decode())

_PRIMITIVES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "long": LONGS,
    "double": DOUBLES,
    "string": TEXTS,
    "bytes": st.binary(max_size=80),
}


def values(type_):
    """Values of a type."""
    match type_:
        case model.Primitive(_, "json"):
            return JSON_TEXTS
        case model.Primitive(name, _):
            return _PRIMITIVES[name]
        case model.Fixed(_, size):
            return st.binary(min_size=size, max_size=size)
        case model.Enum(_, symbols):
            return st.sampled_from(symbols)
        case model.Array(items):
            return st.lists(values(items), max_size=3)
        case model.Map(inner):
            return st.dictionaries(TEXTS, values(inner), max_size=3)
        case model.Union(branches):
            return st.one_of(*map(values, branches))
        case model.Record():
            return instances(type_)


_MADE = {}


def instances(record):
    """Instances of a record's class; names that must not be empty are not."""
    if record.name not in _MADE:
        fields = {
            field.name: (
                st.text(min_size=1, max_size=12)
                if (record.name, field.name) in _NOT_EMPTY
                else values(field.type)
            )
            for field in record.fields
        }
        _MADE[record.name] = st.builds(getattr(generated, record.name), **fields)
    return _MADE[record.name]


def plain(value):
    """A record as the dict that fastavro writes and reads."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        names = [name for name in value.__dataclass_fields__ if name != "raw"]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        # Maps are written sorted; fastavro writes them as they stand.
        return {key: plain(value[key]) for key in sorted(value)}
    return value
