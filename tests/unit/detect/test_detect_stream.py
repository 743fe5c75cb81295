"""Redaction of a stream: the same for every split, never half a finding, little held back."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.detect import RedactionKeys, StreamRedactor, combined, pii
from enforcer.detect.pseudonyms import Pseudonyms
from tests.unit.detect.secret_samples import sample

CARD = "4111 " + "1111 " * 2 + "1111"
KINDS = pii.DEFAULT | {"private_key", "jwt", "github_token", "generic_secret", "url", "iban"}
SECRETS = [
    sample(kind, random.Random(7))[0]
    for kind in ("private_key", "jwt", "github_token", "generic_secret")
]
PIECES = st.sampled_from([
    "a@b.com", "541-714-1388", "123-45-6789", CARD, "8.8.8.8", "call me at", " ", "\n", ", ", "the quick brown fox",
    "x" * 40, "ab12" * 60, "password is ", "Bearer ", "你好\uff0c", "é", '{"a":1}', "John Doe", "12 Main Street", "-----BEGIN ",
    "https://x.org/" + "a" * 600, *SECRETS,
])  # fmt: skip
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from(["", " ", "  "])), max_size=14).map(
    lambda parts: "".join([piece + gap for piece, gap in parts])
)


def whole(text: str, kinds=KINDS, style="label") -> str:
    redactor = StreamRedactor(kinds, style)
    return redactor.feed(text) + redactor.end()


@given(
    TEXTS,
    st.lists(st.integers(1, 700), min_size=1, max_size=8),
    st.sampled_from(["label", "remove", "mask"]),
)
@settings(max_examples=150, deadline=None)
def test_every_split_gives_the_same(text, sizes, style):
    """
    However a text is cut into chunks, what leaves is the same, and at most 512 characters are held.
    """
    redactor = StreamRedactor(KINDS, style)
    pieces, at, turn = [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        pieces.append(redactor.feed(text[at : at + size]))
        assert redactor.held <= 512
        at += size
        turn += 1
    assert "".join(pieces) + redactor.end() == whole(text, style=style)


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_nothing_of_what_is_found_leaves(text):
    """What leaves holds no finding of the asked kinds that a scan of it would see."""
    left = whole(text, style="label")
    assert not combined.scan(left, frozenset(KINDS))


@pytest.mark.parametrize(
    "filler", ["", "so we went on and on about it ", "ab12" * 200, "你好" * 300]
)
def test_a_value_is_never_sent_by_half(filler):
    """
    Fed a character at a time, no prefix of a value leaves: prose, code and scripts without blanks alike.
    """
    for value in ("someone@example.com", "541-714-1388", "123-45-6789", CARD):
        redactor = StreamRedactor(KINDS)
        sent = "".join([redactor.feed(char) for char in f"{filler} mail {value} now and then"])
        sent += redactor.end()
        assert value not in sent
        assert value[:6] not in sent
        assert "_REDACTED]" in sent


def test_the_first_words_leave_early():
    """
    Time to first output: of plain words the first leaves with the second.
    """
    redactor = StreamRedactor(pii.DEFAULT)
    sent = [redactor.feed(word) for word in ("Hello ", "there ", "my ", "friend ")]
    assert sent == ["", "Hello ", "there ", "my "]
    assert redactor.end() == "friend "


def test_a_private_key_is_suppressed_from_its_opening_on():
    """
    A key longer than what is held leaves as one label; what follows its end leaves again.
    """
    text, _ = sample("private_key", random.Random(1))
    long = text.replace("\n", "\n" + "QUJD" * 400 + "\n", 1)
    left = whole(f"the key {long} and so it ends here")
    assert "QUJD" not in left
    assert left.endswith("and so it ends here")
    assert left.count("[PRIVATE_KEY_REDACTED]") == 1
    unfinished = whole(f"the key {long[:900]}")
    assert "QUJD" not in unfinished


def test_something_unbroken_is_suppressed_up_to_the_next_blank():
    """
    A web address longer than what is held leaves as one label.
    """
    left = whole("see https://x.org/" + "a1" * 2000 + " and so on")
    assert left == "see [URL_REDACTED] and so on"


def test_context_before_a_chunk_counts():
    """
    A word in an earlier chunk makes the number behind it a finding.
    """
    redactor = StreamRedactor({"phone"})
    sent = [redactor.feed(piece) for piece in ("please call me ", "at ", "5551234567", " then")]
    assert "5551234567" not in "".join(sent) + redactor.end()


def test_styles_of_a_stream():
    """
    Each kind may have a style of its own; keys are as for a whole text.
    """
    keys = RedactionKeys(hash_key=b"k" * 16, pseudonyms=Pseudonyms(b"p" * 16, "c1"))
    redactor = StreamRedactor(
        keys=keys, styles={"email": "pseudonym", "ssn": "mask", "ip_address": "hash"}
    )
    left = redactor.feed("mail a@b.com or 123-45-6789 from 8.8.8.8 ok") + redactor.end()
    assert "********" in left
    assert "[IP_ADDRESS_HASH_" in left
    assert keys.pseudonyms is not None
    assert "a@b.com" in keys.pseudonyms.restored(left)
    assert redactor.redactions == 3


def test_hostile_streams_are_redacted():
    """
    Too many findings in what is held, or no blank ever: all of it is decided, nothing raises.
    """
    assert "@" not in whole("a@b.cc " * 600)
    assert len(whole("x" * 2000)) == 2000


@pytest.mark.parametrize("far", ["", " ab12 " * 150])
@pytest.mark.parametrize(
    "text", ["a@b.com541-714-1388", "541-714-1388a@b.com", "a@b.com541-714-1388c@d.org"]
)
def test_what_stands_alone_once_its_neighbour_is_redacted_leaves_no_more(text, far):
    """A telephone glued to an e-mail address, in a segment of its own and where no quiet place comes."""
    assert "714" not in whole(text + far)
    assert "714" not in whole(far + text + far)
    assert "714" not in whole(text + far, style="mask")
