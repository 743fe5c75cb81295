"""Signatures of policy records: what they cover, whose are believed, and which keys are keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.errors import ConfigError
from enforcer.policy.signing import HEADER, Signer, Verifier, make_key, signed_bytes

PRIVATE, PUBLIC, KEY_ID = make_key()
OTHER_PRIVATE, OTHER_PUBLIC, _ = make_key()
SIGNER = Signer(PRIVATE, prefix="e")
VERIFIER = Verifier([PUBLIC], prefix="e")
PLACE = ("policies", b"acme/set", b"value")


def test_what_is_signed_is_believed():
    """A record and a tombstone alike, by any of the known keys, told apart by the key's id."""
    for value in (b"value", b"", None):
        headers = SIGNER.headers("policies", b"k", value)
        assert VERIFIER.refusal("policies", b"k", value, headers) == ""
    both = Verifier([OTHER_PUBLIC + PUBLIC], prefix="e")
    assert both.refusal(*PLACE, SIGNER.headers(*PLACE)) == ""
    assert KEY_ID in both.key_ids
    assert SIGNER.key_id.hex() == KEY_ID


@pytest.mark.parametrize(
    ("prefix", "place"),
    [
        ("f", PLACE),
        ("e", ("policy-history", *PLACE[1:])),
        ("e", ("policies", b"beta/set", b"value")),
        ("e", ("policies", b"acme/set", b"value!")),
        ("e", ("policies", b"acme/set", None)),
    ],
    ids=["another installation", "another topic", "another key", "another value", "a tombstone"],
)
def test_a_signature_is_for_one_place(prefix, place):
    """A record copied elsewhere, or changed, is not believed there."""
    headers = SIGNER.headers(*PLACE)
    assert Verifier([PUBLIC], prefix=prefix).refusal(*place, headers) == "bad_signature"


def test_no_two_places_have_the_same_bytes():
    """Lengths stand before the parts: nothing moves from one into the next."""
    assert signed_bytes("a", "bc", b"d", b"e") != signed_bytes("ab", "c", b"d", b"e")
    assert signed_bytes("a", "b", b"cd", b"e") != signed_bytes("a", "b", b"c", b"de")
    assert signed_bytes("a", "b", b"c", None) != signed_bytes("a", "b", b"c", b"")


@given(bit=st.integers(0, 72 * 8 - 1))
def test_no_bit_of_a_signature_may_change(bit):
    """Neither of the key's id nor of the signature."""
    ((_, content),) = SIGNER.headers(*PLACE)
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    assert VERIFIER.refusal(*PLACE, [(HEADER, bytes(changed))]) in {"bad_signature", "unknown_key"}


def test_what_is_not_signed_says_why():
    """No header; somebody else's; one that is no signature; two, of which one might be good."""
    good = SIGNER.headers(*PLACE)
    assert VERIFIER.refusal(*PLACE, []) == "unsigned"
    assert VERIFIER.refusal(*PLACE, [("gateway", b"x")]) == "unsigned"
    stranger = Signer(OTHER_PRIVATE, prefix="e").headers(*PLACE)
    assert VERIFIER.refusal(*PLACE, stranger) == "unknown_key"
    assert VERIFIER.refusal(*PLACE, [(HEADER, b"short")]) == "bad_signature"
    assert VERIFIER.refusal(*PLACE, [*good, *stranger]) == "bad_signature"


@pytest.mark.parametrize(
    "pem",
    [b"", b"words", PRIVATE, PUBLIC + b"words", PUBLIC[:60]],
    ids=["nothing", "words", "private", "and more", "half"],
)
def test_a_policy_key_is_a_public_key(pem):
    """A private key given to workers is refused, not taken for its public half; so is half a file."""
    with pytest.raises(ConfigError):
        Verifier([pem], prefix="e")


@pytest.mark.parametrize(
    "pem", [b"", b"words", PUBLIC, PRIVATE[:60]], ids=["nothing", "words", "public", "half"]
)
def test_a_signing_key_is_a_private_key(pem):
    """And the error does not repeat what was in the file."""
    with pytest.raises(ConfigError) as refused:
        Signer(pem, prefix="e")
    assert "BEGIN" not in str(refused.value)
    with pytest.raises(ConfigError):
        Verifier([], prefix="e")
