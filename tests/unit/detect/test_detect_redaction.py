"""Redaction: nothing of a finding stays, nothing else is touched, and it comes to rest."""

import random
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer.detect import (
    DetectError,
    Pseudonyms,
    RedactionKeys,
    Splice,
    apply_splices,
    combined,
    label_of,
    pii,
    redact,
    redact_by,
)
from enforcer.detect.redaction import STRICTNESS
from tests.unit.detect.secret_samples import sample

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


KEYS = RedactionKeys(hash_key=b"h" * 16, pseudonyms=Pseudonyms(b"p" * 16, "conversation-1"))


def test_a_mask_keeps_no_character_and_not_the_length():
    """
    At most eight asterisks stand in place, whatever the value.
    """
    text = "mail someone.with.a.long.name@example.com or a@b.cc"
    left = apply_splices(text, redact(text, ["email"], "mask"))
    assert left == "mail ******** or ******"


def test_a_hash_is_keyed_and_the_same_for_the_same_value():
    """
    The same value has the same hash under one key, another under another, and none without.
    """
    text = "a@b.com and a@b.com and c@d.com"
    one, two, three = [s.text for s in redact(text, ["email"], "hash", keys=KEYS)]
    assert one == two != three
    other = redact(text, ["email"], "hash", keys=RedactionKeys(hash_key=b"x" * 16))
    assert other[0].text != one
    with pytest.raises(DetectError) as caught:
        redact(text, ["email"], "hash")
    assert caught.value.code == "no_key"
    with pytest.raises(DetectError):
        redact(text, ["email"], "pseudonym")


@given(st.text(min_size=1, max_size=40), st.sampled_from(["email", "name", "github_token"]))
@settings(deadline=None)
def test_a_pseudonym_is_undone_by_its_key(value, kind):
    """
    Same value, same pseudonym in one conversation, another in the next; only the key restores it.
    """
    one, two = Pseudonyms(b"p" * 16, "c1"), Pseudonyms(b"p" * 16, "c2")
    made = one.of(kind, value)
    assert made == one.of(kind, value) != two.of(kind, value)
    assert one.restored(f"x {made} y") == f"x {value.encode('utf-8', 'replace').decode()} y"
    assert two.restored(made) == made
    assert Pseudonyms(b"q" * 16, "c1").restored(made) == made
    assert one.restored(made.replace("_PSEUDONYM_", "_PSEUDONYM_ab")) != value


def test_a_forged_pseudonym_stays():
    """
    What was not made with the key is not undone.
    """
    text = "[EMAIL_PSEUDONYM_" + "a" * 40 + "] [EMAIL_PSEUDONYM_" + "b" * 41 + "]"
    assert KEYS.pseudonyms is not None
    assert KEYS.pseudonyms.restored(text) == text


ALL_STYLES = st.sampled_from(["label", "remove", "mask", "hash", "pseudonym"])


@given(
    st.lists(PIECES, max_size=12).map("".join),
    st.dictionaries(
        st.sampled_from(["email", "phone", "ssn", "credit_card", "url", "generic_secret"]),
        ALL_STYLES,
        min_size=1,
    ),
)
@settings(max_examples=200, deadline=None)
def test_no_finding_is_left_in_any_style(text, styles):
    """
    Whatever stands in place is no finding itself, and joins to none.
    """
    left = apply_splices(text, redact_by(text, styles, keys=KEYS))
    assert combined.scan(left, frozenset(styles)) == []


def test_the_strictest_style_stands_where_kinds_overlap():
    """
    Remove before label, label before hash, hash before pseudonym, pseudonym before mask.
    """
    text = "https://user:Pa55word!x@example.com/x"
    left = apply_splices(
        text, redact_by(text, {"url_credentials": "mask", "url_password": "remove"}, keys=KEYS)
    )
    assert left == ""
    assert sorted(STRICTNESS, key=STRICTNESS.__getitem__) == [
        "mask",
        "pseudonym",
        "hash",
        "label",
        "remove",
    ]


def test_secrets_are_redacted_as_personal_data_is():
    """
    Kinds of secrets and of personal data go into one redaction.
    """
    token = sample("github_token", random.Random(5))[1]
    text = f"token {token} of a@b.com"
    assert (
        redacted(text, ["github_token", "email"])
        == "token [GITHUB_TOKEN_REDACTED] of [EMAIL_REDACTED]"
    )


def test_a_text_given_up_is_replaced_whole():
    """
    Where a kind was truncated before anything was found the text goes as a whole.
    """
    text = "CPF 111.222.333-44 " * 20_100
    assert redact(text, ["br_cpf"]) == [Splice(0, len(text), "[BR_CPF_REDACTED]")]
