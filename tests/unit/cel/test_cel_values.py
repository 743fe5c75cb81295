"""Values, operators and functions: laws and tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.cel import (
    Environment,
    EvaluationError,
    compile_expression,
    from_host,
    parse,
    read_type,
)
from enforcer.cel.functions.times import (
    parse_duration,
    parse_timestamp,
    show_duration,
    show_timestamp,
)
from enforcer.cel.operators import equal, less
from enforcer.cel.values import (
    INT_MAX,
    INT_MIN,
    TIMESTAMP_MAX_NS,
    TIMESTAMP_MIN_NS,
    UINT_MAX,
    Duration,
    Timestamp,
    UInt,
)
from enforcer.cli.cel import answer_plain

EDGES = [INT_MIN, INT_MIN + 1, -1, 0, 1, 2, INT_MAX - 1, INT_MAX]
INTS = st.sampled_from(EDGES) | st.integers(INT_MIN, INT_MAX) | st.integers(-(2**33), 2**33)
UINTS = st.sampled_from([0, 1, 2, UINT_MAX]) | st.integers(0, UINT_MAX) | st.integers(0, 2**34)
OPERATIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
PAIR = {name: read_type("dyn") for name in "ab"}
PROGRAMS = {
    operator: compile_expression(parse(f"a {operator} b"), Environment(PAIR))
    for operator in ("+", "-", "*", "/", "%", "==", "<", "<=", ">", ">=")
}


def run(text, **values):
    environment = Environment({name: read_type("dyn") for name in values})
    return compile_expression(parse(text), environment).evaluate(values)


def code_of(text, **values):
    with pytest.raises(EvaluationError) as caught:
        run(text, **values)
    return caught.value.code


@given(a=INTS, b=INTS, operator=st.sampled_from(sorted(OPERATIONS)))
def test_int_arithmetic_is_exact_or_an_overflow(a, b, operator):
    """The result is Python's, if it has 64 bits; else an error."""
    exact = OPERATIONS[operator](a, b)
    if INT_MIN <= exact <= INT_MAX:
        assert PROGRAMS[operator].evaluate({"a": a, "b": b}) == exact
    else:
        with pytest.raises(EvaluationError, match="out of range"):
            PROGRAMS[operator].evaluate({"a": a, "b": b})


@given(a=UINTS, b=UINTS, operator=st.sampled_from(sorted(OPERATIONS)))
def test_uint_arithmetic_is_exact_or_an_overflow(a, b, operator):
    """The result is Python's and a uint, if it has 64 bits without a sign; else an error."""
    exact = OPERATIONS[operator](a, b)
    values = {"a": UInt(a), "b": UInt(b)}
    if 0 <= exact <= UINT_MAX:
        found = PROGRAMS[operator].evaluate(values)
        assert found == exact
        assert type(found) is UInt
    else:
        with pytest.raises(EvaluationError):
            PROGRAMS[operator].evaluate(values)


@given(a=INTS, b=INTS.filter(bool))
def test_division_rounds_toward_zero(a, b):
    """a / b * b + a % b is a, and the rest has the sign of a."""
    if (a, b) == (INT_MIN, -1):
        return
    values = {"a": a, "b": b}
    quotient, rest = PROGRAMS["/"].evaluate(values), PROGRAMS["%"].evaluate(values)
    assert quotient * b + rest == a
    assert abs(rest) < abs(b)
    assert rest == 0 or (rest < 0) == (a < 0)


NUMBERS = st.one_of(INTS, UINTS.map(UInt), st.floats(allow_nan=False))


@given(a=NUMBERS, b=NUMBERS)
def test_order_and_equality_of_numbers_agree(a, b):
    """Of two numbers of any types exactly one holds: less, equal, greater."""
    assert [less(a, b), equal(a, b), less(b, a)].count(True) == 1


SCALARS = st.one_of(
    st.none(), st.booleans(), INTS, UINTS.map(UInt), st.floats(allow_nan=False), st.text(max_size=3),
    st.binary(max_size=3), st.integers(-5, 5).map(Timestamp), st.integers(-5, 5).map(Duration),
)  # fmt: skip
DATA = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=2), below, max_size=3)
    ),
    max_leaves=6,
)


@given(a=DATA, b=DATA)
def test_equality_is_reflexive_and_symmetric(a, b):
    """Any value equals itself, and never errs against another."""
    assert equal(a, a)
    assert equal(a, b) is equal(b, a)


def test_a_bool_is_no_number():
    """True is not 1, neither alone nor in a list, a map or as a key, with types or without."""
    assert run("[a == 1, a in [1], [a] == [1], {'k': a} == {'k': 1}]", a=True) == [False] * 4
    assert run("{1: 'int', true: 'bool'}[a]", a=True) == "bool"
    assert run("{1: 'int', true: 'bool'}[a]", a=1) == "int"
    assert run("{true: 1}.map(k, k)[0] == true") is True
    assert code_of("a + 1", a=True) == "no_such_overload"
    assert code_of("a < 1", a=True) == "no_such_overload"
    assert code_of("-a", a=True) == "no_such_overload"
    assert code_of("[5][a]", a=False) == "invalid_argument"
    assert code_of("a ? 1 : 2", a=1) == "no_such_overload"
    assert code_of("a && true", a=1) == "no_such_overload"


def test_number_types_are_kept_apart_but_compare():
    """1, 1u and 1.0 are equal and one key, and do not mix in arithmetic."""
    assert run("[a == 1, a == 1.0, a < 2, a < 1.5, a in [1]]", a=UInt(1)) == [True] * 5
    assert run("{1: 'a'}[a]", a=1.0) == "a"
    assert code_of("a + 1", a=UInt(1)) == "no_such_overload"
    assert code_of("a + 1", a=1.0) == "no_such_overload"
    assert code_of("{1: 'a', 1u: 'b'}") == "invalid_argument"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1 / 0", "divide_by_zero"),
        ("1 % 0", "divide_by_zero"),
        ("9223372036854775807 + 1", "overflow"),
        ("{'a': 1}.b", "no_such_key"),
        ("{'a': 1}['b']", "no_such_key"),
        ("{'a': 1}[1.5]", "no_such_key"),
        ("[1][1]", "index_out_of_range"),
        ("[1][-1]", "index_out_of_range"),
        ("'a'.b", "no_such_overload"),
        ("nobody", "unbound"),
        ("nothing(1)", "unbound"),
        ("int('x')", "invalid_argument"),
        ("int(1e30)", "out_of_range"),
        ("'a'.matches('(')", "invalid_argument"),
        ("'a'.matches('(?=b)')", "invalid_argument"),
        ("timestamp('2026-13-01T00:00:00Z')", "out_of_range"),
        ("timestamp('2026-02-29T00:00:00Z')", "out_of_range"),
        ("timestamp(0).getHours('Mars/Base')", "invalid_argument"),
        ("lists.range(2000000)", "limit"),
        ("'%.2000f'.format([1.0])", "limit"),
        ("Message{a: 1}", "unbound"),
    ],
)
def test_errors_have_stable_codes(text, code):
    """What can go wrong says which it is."""
    assert code_of(text) == code


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lists.range(3)", [0, 1, 2]),
        ("[3, 1, 2].sort()", [1, 2, 3]),
        ("['bb', 'a'].sortBy(t, size(t))", ["a", "bb"]),
        ("[1, 1.0, 2, 'a', 'a'].distinct()", [1, 2, "a"]),
        ("['b', 'a', 'b'].distinct()", ["b", "a"]),
        ("[[1], [2, [3]]].flatten()", [1, 2, [3]]),
        ("[[1], [2, [3]]].flatten(2)", [1, 2, 3]),
        ("[1, 2, 3].slice(1, 2)", [2]),
        ("[1, 2].reverse()", [2, 1]),
        ("[1, 2].first().value() + [1, 2].last().value()", 3),
        ("sets.contains([1, 2], [2])", True),
        ("sets.equivalent([1, 2], [2, 1, 1])", True),
        ("sets.intersects([1], [1.0])", True),
        ("{'a': 1}.transformMapEntry(k, v, {v: k})", {1: "a"}),
        ("optional.none().optMap(x, x + 1).orValue(5)", 5),
        ("[?optional.of(1), ?optional.none()]", [1]),
        ("optional.unwrap([optional.of(1), optional.none()])", [1]),
        ("math.greatest(1, 2u, 1.5)", 2),
        ("math.sqrt(16)", 4.0),
        ("math.round(-2.5)", -3.0),
        ("math.round(0.49999999999999994)", 0.0),
        ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
        ("'abc'.split('')", ["a", "b", "c"]),
        ("'abc'.split('', 2)", ["a", "bc"]),
        ("'aaa'.replace('a', 'b', 2)", "bba"),
        ("'aaa'.replace('', '-')", "-a-a-a-"),
        ("string(1e6)", "1000000"),
        ("string(1e21)", "1e+21"),
        ("string(0.00001)", "0.00001"),
        ("string(1.5e17)", "150000000000000000"),
        ("string(123456789012345680000.0)", "123456789012345680000"),
        (
            "'%s'.format([[1, true, null, b'x', {'b': 1, 'a': 2}]])",
            "[1, true, null, x, {a: 2, b: 1}]",
        ),
        ("cel.block([1, cel.index(0) + 1], cel.index(1))", 2),
        ("cel.bind(a, 1 / 0, true || a)", True),
        ("true || nobody", True),
        ("nobody && false", False),
        ("has({'a': 1}.?a.b)", None),
        ("duration('1h').getMilliseconds() + duration('1s5ms').getMilliseconds()", 5),
        ("isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/40')", True),
        ("cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", True),
        ("cidr('10.0.0.0/8').containsIP('10.255.255.255')", True),
    ],
)
def test_functions(text, value):
    """Functions beyond those that the conformance suite tries."""
    if value is None:
        assert code_of(text) == "no_such_overload"
    else:
        assert run(text) == value


@given(ns=st.integers(TIMESTAMP_MIN_NS, TIMESTAMP_MAX_NS))
def test_a_timestamps_text_reads_back(ns):
    """RFC 3339 with nanoseconds loses nothing, in every year from 1 to 9999."""
    assert parse_timestamp(show_timestamp(Timestamp(ns))) == Timestamp(ns)


@given(ns=st.integers(INT_MIN, INT_MAX))
def test_a_durations_text_reads_back(ns):
    """Seconds with nine decimals lose nothing."""
    assert parse_duration(show_duration(Duration(ns))) == Duration(ns)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1h1m1s", 3_661 * 10**9),
        ("-1.5h", -5_400 * 10**9),
        ("1.000000001s", 10**9 + 1),
        (".5ms", 500_000),
        ("3us2ns", 3_002),
        ("3µs", 3_000),
        ("0", 0),
        ("+1s", 10**9),
    ],
)
def test_durations(text, ns):
    """Every unit, with decimals and signs."""
    assert parse_duration(text) == Duration(ns)


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1 s", "1d", "--1s", "1s1", "٣s", "1e3s", "9" * 200 + "s"]
)
def test_what_is_no_duration(text):
    """Anything else is an error."""
    with pytest.raises(EvaluationError):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01t00:00:00Z", "2026-01-01T24:00:00Z",
     "2026-01-01T00:00:60Z", "2026-00-01T00:00:00Z", "2026-01-01T00:00:00+24:00", "٢٠٢٦-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_timestamp(text):
    """Anything but RFC 3339 with upper-case letters is an error."""
    with pytest.raises(EvaluationError):
        parse_timestamp(text)


def test_the_ends_of_time_have_parts_in_every_zone():
    """The first and last moments have a year, an hour and a day wherever the clock hangs."""
    for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"):
        for zone in ("Pacific/Kiritimati", "America/Los_Angeles", "-23:59", "+23:59"):
            at = parse_timestamp(text)
            assert 0 <= run("a.getFullYear(z)", a=at, z=zone) <= 10_000
            assert 0 <= run("a.getDayOfYear(z)", a=at, z=zone) <= 365
            assert 0 <= run("a.getHours(z)", a=at, z=zone) < 24


def test_growth_is_bounded():
    """Doubling a string, bytes or list again and again ends in an error, not in all memory."""
    for start in ("'aaaaaaaa'", "b'aaaaaaaa'", "[1, 1, 1, 1]"):
        text = "v30"
        for at in range(30, 0, -1):
            text = f"cel.bind(v{at}, v{at - 1} + v{at - 1}, {text})"
        assert code_of(f"size(cel.bind(v0, {start}, {text}))") == "limit"
    assert code_of("size(a.replace('a', a))", a="a" * 10_000) == "limit"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (2**64, "out_of_range"),
        (-(2**63) - 1, "out_of_range"),
        ("\ud800", "invalid_argument"),
        ({"a": object()}, "invalid_argument"),
        ({1.5: 1}, "invalid_argument"),
    ],
)
def test_what_is_no_value_is_refused(value, code):
    """Values from outside are checked once, at the edge."""
    with pytest.raises(EvaluationError) as caught:
        from_host(value)
    assert caught.value.code == code


def test_values_from_outside():
    """JSON is CEL as it stands; an integer beyond int is a uint, a tuple a list."""
    assert from_host({"a": [1, 1.5, None, True, "x", (1,)]}) == {
        "a": [1, 1.5, None, True, "x", [1]]
    }
    assert type(from_host(2**63)) is UInt
    assert math.isnan(from_host(math.nan))
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(EvaluationError):
        from_host(deep)


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_the_names_of_what_is_no_number_pass_through_formats_of_doubles(name):
    """As strings and as doubles alike; any other string is refused."""
    for written in (f'"{name}"', f'double("{name}")'):
        assert (
            answer_plain({"expr": f'"%f %e".format([{written}, {written}])'})["value"]
            == f"{name} {name}"
        )
    assert answer_plain({"expr": '"%f".format(["1.0"])'})["code"] == "invalid_argument"
