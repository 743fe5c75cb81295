"""The assignor: everything given once, balanced, nothing moved without need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enforcer.broker.assignor import Claim, balance

CLAIMS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(
        Claim,
        st.text("xyz", max_size=2),
        st.integers(0, 3),
        st.lists(st.integers(0, 14), max_size=8).map(tuple),
    ),
    min_size=1,
    max_size=7,
)


@given(partitions=st.integers(0, 12), claims=CLAIMS)
def test_every_number_is_given_once_and_counts_differ_by_one(
    partitions: int, claims: dict[str, Claim]
) -> None:
    """Whatever members claim, overlapping, stale or beyond the end, the result is a balanced partition."""
    given_out = balance(partitions, claims)

    assert sorted(n for numbers in given_out.values() for n in numbers) == list(range(partitions))
    counts = [len(numbers) for numbers in given_out.values()]
    assert set(given_out) == set(claims)
    assert max(counts) - min(counts) <= 1


@given(partitions=st.integers(0, 12), claims=CLAIMS)
def test_no_balanced_assignment_moves_less(partitions: int, claims: dict[str, Claim]) -> None:
    """Of what members validly hold, as much stays as balance lets anybody keep."""
    owner: dict[int, str] = {}
    for member, claim in sorted(claims.items(), key=lambda item: (-item[1].round_number, item[0])):
        for number in claim.owned:
            if number < partitions:
                owner.setdefault(number, member)
    held = sorted(
        (sum(1 for who in owner.values() if who == member) for member in claims), reverse=True
    )
    least, extra = divmod(partitions, len(claims))
    best = sum(min(count, least + (place < extra)) for place, count in enumerate(held))

    stays = sum(
        1
        for member, ns in balance(partitions, claims).items()
        for n in ns
        if owner.get(n) == member
    )
    assert stays == best


@given(partitions=st.integers(1, 12), claims=CLAIMS)
def test_a_finished_assignment_is_a_fixed_point(partitions: int, claims: dict[str, Claim]) -> None:
    """A rebalance in which nobody came or went moves nothing."""
    first = balance(partitions, claims)
    again = balance(partitions, {m: Claim(claims[m].name, 9, ns) for m, ns in first.items()})
    assert again == first


@given(partitions=st.integers(1, 12), members=st.integers(2, 6))
def test_one_that_leaves_moves_only_its_own(partitions: int, members: int) -> None:
    """When one of n members dies, the survivors keep everything they had."""
    names = [f"m{i}" for i in range(members)]
    before = balance(partitions, {name: Claim(name) for name in names})
    after = balance(partitions, {name: Claim(name, 1, before[name]) for name in names[1:]})
    for name in names[1:]:
        assert set(before[name]) <= set(after[name])


def test_an_older_round_loses() -> None:
    """A member back from the dead does not take its partitions from their new owner."""
    given_out = balance(
        2, {"zombie": Claim("z", 3, (0, 1)), "heir": Claim("h", 4, (0,)), "new": Claim("n")}
    )
    assert 0 in given_out["heir"]


@given(
    claim=st.builds(
        Claim,
        st.text(max_size=9),
        st.integers(0, 2**40),
        st.lists(st.integers(0, 2**31)).map(tuple),
    )
)
def test_claims_travel(claim: Claim) -> None:
    """Encoding a claim and back gives the claim; a truncated one claims nothing or less, and never raises."""
    data = claim.encode()
    assert Claim.decode(data) == claim
    for cut in range(len(data)):
        assert isinstance(Claim.decode(data[:cut]), Claim)
    assert Claim.decode(None) == Claim()
    assert Claim.decode(b"\x02" + data[1:]) == Claim()
