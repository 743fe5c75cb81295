"""Redaction: nothing of a finding stays, nothing else is touched, and it comes to rest."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer.detect import DetectError, Splice, apply_splices, label_of, pii, redact, redact_by

ALL = frozenset(pii.KINDS)
CARD = "4111 " + "1111 " * 2 + "1111"
STYLES = st.sampled_from(["label", "remove"])
PIECES = st.sampled_from([
    "a@b.com", "541-714-1388", "123-45-6789", CARD, CARD.replace(" ", ""), "8.8.8.8", "123-", "45-6789", "a@", "b.com",
    "541-", "714-1388", "8.8.", "call ", "ssn ", " ", "-", ".", "1", "x", "é", "\U0001f600", "(", ")", "+1 ", "::", "born ",
    "12/25/1990", "John ", "Doe", "12 Main Street", "\n",
])  # fmt: skip
KINDS = st.frozensets(st.sampled_from(pii.KINDS), min_size=1)


def redacted(text: str, kinds, style="label") -> str:
    return apply_splices(text, redact(text, kinds, style))


def test_a_label_names_the_kind():
    """
    A label stands in place of each finding; the rest of the text is untouched.
    """
    text = "Hello test@example.com, call 541-714-1388. How are you?"
    assert (
        redacted(text, ["email", "phone"])
        == "Hello [EMAIL_REDACTED], call [PHONE_REDACTED]. How are you?"
    )
    assert redacted(text, ["email"]) == "Hello [EMAIL_REDACTED], call 541-714-1388. How are you?"
    assert label_of("credit_card") == "[CREDIT_CARD_REDACTED]"


def test_remove_puts_nothing():
    """
    The style remove takes the finding out and puts nothing in its place.
    """
    assert redact("mail a@b.com now", ["email"], "remove") == [Splice(5, 12, "")]
    assert redacted("mail a@b.com now", ["email"], "remove") == "mail  now"


def test_a_clean_text_has_no_splices():
    """
    A text without findings of the asked kinds is left alone.
    """
    assert redact("nothing here", ALL) == []
    assert redact("", ALL) == []
    assert redact("a@b.com", frozenset()) == []


def test_values_that_touch_are_both_redacted():
    """
    Two values without a gap leave nothing behind, though neither stands between boundaries.
    """
    text = "test@example.com555-123-4567"
    for style in ("label", "remove"):
        left = redacted(text, ["email", "phone"], style)
        assert "example" not in left
        assert "4567" not in left


def test_two_halves_do_not_join_to_a_finding():
    """
    What a removal would join to a finding is removed with it.
    """
    text = "12a@b.com 3-45-6789 and 541-a@b.cc-714-1388"
    left = redacted(text, ["email", "phone", "ssn"], "remove")
    assert pii.scan(left, frozenset({"email", "phone", "ssn"})) == []


def test_offsets_are_code_points():
    """
    Splices count code points, also behind text beyond the basic plane.
    """
    text = "\U0001f600 é a@b.com \U0001f600"
    assert redact(text, ["email"]) == [Splice(4, 11, "[EMAIL_REDACTED]")]


def test_too_many_findings_redact_the_whole_text():
    """
    Past 1,000 findings of a kind the text is replaced as a whole.
    """
    text = "a@b.cc " * 1001
    assert redact(text, ["email"]) == [Splice(0, len(text), "[EMAIL_REDACTED]")]
    assert redacted(text, ["email"], "remove") == ""
    assert redacted(text, ["phone"]) == text


def test_a_text_too_large_errs():
    """
    A text that may not be scanned is not redacted by half: the caller gets the error.
    """
    with pytest.raises(DetectError):
        redact("a@b.com " * 100, ["email"], scan_bytes_max=100)


def test_each_kind_has_its_style():
    """
    One kind is removed and another labelled in one text; what overlaps both is removed.
    """
    text = "mail a@b.com, call 541-714-1388"
    splices = redact_by(text, {"email": "remove", "phone": "label"})
    assert apply_splices(text, splices) == "mail , call [PHONE_REDACTED]"


@given(
    st.lists(PIECES, max_size=14).map("".join),
    st.dictionaries(st.sampled_from(pii.KINDS), STYLES, min_size=1),
)
@settings(max_examples=300, deadline=None)
def test_no_finding_is_left_in_mixed_styles(text, styles):
    """
    Removing one kind beside a label of another joins no two halves to a finding.
    """
    assert pii.scan(apply_splices(text, redact_by(text, styles)), frozenset(styles)) == []


@given(st.lists(PIECES, max_size=14).map("".join), KINDS, STYLES)
@example("12a@b.com3-45-6789", frozenset({"email", "ssn"}), "remove")
@settings(max_examples=400, deadline=None)
def test_no_finding_of_the_asked_kinds_is_left(text, kinds, style):
    """
    However values are glued together, the redacted text holds no finding of the asked kinds.
    """
    assert pii.scan(redacted(text, kinds, style), kinds) == []


@given(st.lists(PIECES, max_size=14).map("".join), KINDS, STYLES)
@settings(deadline=None)
def test_splices_are_sorted_disjoint_and_cover_every_finding(text, kinds, style):
    """
    No character of a finding lies outside the splices, and applying them from the end is the same.
    """
    splices = redact(text, kinds, style)
    assert all(0 <= s.start < s.end <= len(text) for s in splices)
    assert all(a.end <= b.start for a, b in pairwise(splices))
    for finding in pii.scan(text, kinds):
        assert any(s.start <= finding.start and finding.end <= s.end for s in splices)
    from_end = text
    for splice in reversed(splices):
        from_end = from_end[: splice.start] + splice.text + from_end[splice.end :]
    assert from_end == apply_splices(text, splices)


@given(st.lists(PIECES, max_size=14).map("".join), KINDS)
@settings(deadline=None)
def test_redaction_comes_to_rest(text, kinds):
    """
    Redacting what was redacted changes nothing.
    """
    assert redact(redacted(text, kinds), kinds) == []
