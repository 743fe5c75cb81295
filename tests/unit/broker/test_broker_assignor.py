"""The assignor: everything given once, balanced, nothing moved without need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enforcer.broker.assignor import Claim, Share, balance, share_out

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


NUMBERS = st.lists(st.integers(0, 14), max_size=10, unique=True).map(tuple)
FULL_CLAIMS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(
        Claim, st.text("xyz", max_size=2), st.integers(0, 3), NUMBERS, NUMBERS, st.booleans()
    ),
    min_size=1,
    max_size=6,
)


def owners(shares: dict[str, Share]) -> dict[int, str]:
    return {number: member for member, share in shares.items() for number in share.owned}


def live_owners(partitions: int, claims: dict[str, Claim]) -> dict[int, str]:
    """Whom each partition has now: the newest claim counts."""
    owner: dict[int, str] = {}
    for member, claim in sorted(claims.items(), key=lambda item: (-item[1].round_number, item[0])):
        for number in claim.owned:
            if number < partitions:
                owner.setdefault(number, member)
    return owner


@given(partitions=st.integers(0, 12), claims=FULL_CLAIMS, standbys=st.integers(0, 3))
def test_every_number_has_one_owner_and_its_standbys_are_others(
    partitions: int, claims: dict[str, Claim], standbys: int
) -> None:
    """Whatever members claim: one owner each, as many standbys as asked for or as there are, and none on the owner."""
    shares = share_out(partitions, claims, standbys=standbys)
    assert set(shares) == set(claims)
    assert sorted(n for share in shares.values() for n in share.owned) == list(range(partitions))
    staying = {m for m, claim in claims.items() if not claim.leaves} or set(claims)
    for number, owner in owners(shares).items():
        copies = {m for m, share in shares.items() if number in share.standby}
        assert owner in staying
        assert owner not in copies
        assert copies <= staying
        assert len(copies) >= min(standbys, len(staying) - 1)
        assert len(copies) <= standbys + 2, "who is to have it, and one that is warm"
    for share in shares.values():
        assert set(share.pending) <= set(share.standby)


@given(partitions=st.integers(0, 12), claims=FULL_CLAIMS)
def test_a_partition_moves_to_who_is_warm_where_there_is_one(
    partitions: int, claims: dict[str, Claim]
) -> None:
    """One whose owner stays moves to a warm member only; one whose owner is gone or goes prefers the warm."""
    staying = {m for m, claim in claims.items() if not claim.leaves} or set(claims)
    before = live_owners(partitions, claims)
    for number, owner in owners(share_out(partitions, claims)).items():
        if owner == before.get(number):
            continue
        is_warm = number in claims[owner].warm
        if before.get(number) in staying or any(number in claims[m].warm for m in staying):
            assert is_warm


@given(partitions=st.integers(1, 12), claims=FULL_CLAIMS)
def test_rebalances_come_to_a_balanced_end_and_then_nothing_moves(
    partitions: int, claims: dict[str, Claim]
) -> None:
    """Standbys get warm, join again and are given what waits for them: balanced soon, and for good."""
    claims = {m: Claim(m, c.round_number, c.owned, c.warm) for m, c in claims.items()}
    for _ in range(4):
        shares = share_out(partitions, claims)
        claims = {m: Claim(m, s.round_number, s.owned, s.standby) for m, s in shares.items()}
    counts = [len(share.owned) for share in shares.values()]
    assert max(counts) - min(counts) <= 1
    assert not any(share.pending for share in shares.values())
    copies = [len(share.standby) for share in shares.values()]
    again = share_out(partitions, claims)
    assert owners(again) == owners(shares)
    assert {m: s.standby for m, s in again.items()} == {m: s.standby for m, s in shares.items()}
    assert len(claims) == 1 or sum(copies) >= partitions


@given(partitions=st.integers(1, 12), members=st.integers(2, 6), standbys=st.integers(1, 2))
def test_standbys_are_spread_evenly(partitions: int, members: int, standbys: int) -> None:
    """In a fleet at rest nobody stands by for many more than another."""
    claims = {f"m{n}": Claim(f"m{n}") for n in range(members)}
    for _ in range(4):
        shares = share_out(partitions, claims, standbys=standbys)
        claims = {m: Claim(m, s.round_number, s.owned, s.standby) for m, s in shares.items()}
    counts = [len(share.standby) for share in shares.values()]
    assert max(counts) <= -(-partitions * min(standbys, members - 1) // members) + 1


@given(partitions=st.integers(1, 12), members=st.integers(2, 6))
def test_one_that_dies_is_followed_by_its_standbys(partitions: int, members: int) -> None:
    """Each of its partitions goes to the member that stood by for it, and no other partition moves."""
    claims = {f"m{n}": Claim(f"m{n}") for n in range(members)}
    for _ in range(4):
        shares = share_out(partitions, claims)
        claims = {m: Claim(m, s.round_number, s.owned, s.standby) for m, s in shares.items()}
    dead = claims.pop("m0")
    after = owners(share_out(partitions, claims))
    for number, owner in after.items():
        if number in dead.owned:
            assert number in claims[owner].warm
        else:
            assert number in claims[owner].owned


def test_one_that_leaves_hands_over_to_the_warm_and_comes_back_as_a_standby() -> None:
    """A planned stop: what it has goes at once. Back again and cold, it waits for what balance would give it."""
    claims = {"a": Claim("a", 3, (0, 1), (2, 3), leaves=True), "b": Claim("b", 3, (2, 3), (0, 1))}
    shares = share_out(4, claims)
    assert shares["b"].owned == (0, 1, 2, 3)
    assert shares["a"].owned == shares["a"].standby == ()
    assert not shares["a"].is_last
    assert shares["b"].is_last

    back = share_out(4, {"a": Claim("a"), "b": Claim("b", 4, (0, 1, 2, 3))})
    assert back["a"].owned == ()
    assert back["a"].standby == (0, 1, 2, 3)
    assert len(back["a"].pending) == 2
    warm = share_out(
        4, {"a": Claim("a", 5, (), back["a"].pending), "b": Claim("b", 5, (0, 1, 2, 3))}
    )
    assert warm["a"].owned == back["a"].pending


def test_when_all_leave_nothing_moves_and_each_knows_it() -> None:
    """A whole fleet that is stopped hands nothing to and fro."""
    claims = {
        "a": Claim("a", 3, (0,), (1,), leaves=True),
        "b": Claim("b", 3, (1,), (0,), leaves=True),
    }
    shares = share_out(2, claims)
    assert (shares["a"].owned, shares["b"].owned) == ((0,), (1,))
    assert shares["a"].is_last
    assert shares["b"].is_last


CLAIM = st.builds(
    Claim,
    st.text(max_size=9),
    st.integers(0, 2**40),
    st.lists(st.integers(0, 2**31)).map(tuple),
    st.lists(st.integers(0, 2**31)).map(tuple),
    st.booleans(),
)


@given(claim=CLAIM)
def test_claims_travel(claim: Claim) -> None:
    """Encoding a claim and back gives the claim; a truncated one claims nothing or less, and never raises."""
    data = claim.encode()
    assert Claim.decode(data) == claim
    for cut in range(len(data)):
        assert isinstance(Claim.decode(data[:cut]), Claim)
    assert Claim.decode(None) == Claim()
    assert Claim.decode(b"\x02" + data[1:]) == Claim()


@given(claim=CLAIM, standby=NUMBERS, is_last=st.booleans())
def test_shares_travel(claim: Claim, standby: tuple[int, ...], is_last: bool) -> None:
    """A share as well; and what the first version knew of both stands where it was."""
    share = Share(claim.round_number, claim.owned, standby, standby[:2], is_last)
    assert Share.decode(share.encode()) == share
    assert Share.decode(None) == Share()
    alone = Claim(claim.name, claim.round_number, claim.owned)
    first_version = alone.encode()[: -1 - 4]
    assert Claim.decode(first_version) == alone


@given(partitions=st.integers(1, 12), claims=FULL_CLAIMS)
def test_a_partition_that_has_a_warm_copy_keeps_one(
    partitions: int, claims: dict[str, Claim]
) -> None:
    """While a standby that is to be is cold, one that is warm, or has just owned it, stays."""
    staying = {m for m, claim in claims.items() if not claim.leaves} or set(claims)
    shares = share_out(partitions, claims)
    for number, owner in owners(shares).items():
        fit = {m for m in staying if number in (*claims[m].warm, *claims[m].owned)} - {owner}
        copies = {m for m, share in shares.items() if number in share.standby}
        assert not fit or copies & fit


def test_who_is_warm_stays_the_standby_though_another_has_nothing_to_do() -> None:
    """Tables that are there are not read anew elsewhere."""
    claims = {"a": Claim("a", 1, (0,)), "b": Claim("b", 1), "c": Claim("c", 1, (), (0,))}
    shares = share_out(1, claims)
    assert [m for m, share in shares.items() if share.standby] == ["c"]
