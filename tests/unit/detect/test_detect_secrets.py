"""Secrets: every kind by values that are made up, and by texts that only look like one."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.detect import DetectError, secrets
from enforcer.detect.secrets import checks
from enforcer.detect.secrets.prefixed import PREFIXED
from tests.unit.detect.secret_negatives import NEGATIVES
from tests.unit.detect.secret_samples import sample


def spans(text: str, kind: str, at: float = 0.5) -> list[str]:
    found = secrets.scan(text, frozenset({kind}), at=at)
    return [text[f.start : f.end] for f in found]


def test_there_are_many_kinds_and_each_has_its_negatives():
    """
    At least 150 kinds, no name twice, and none without a written text that is none.
    """
    assert len(secrets.KINDS) == len(set(secrets.KINDS)) >= 150
    assert set(NEGATIVES) == set(secrets.KINDS)


@pytest.mark.parametrize("kind", secrets.KINDS)
def test_a_kind_is_found_and_its_look_alikes_are_not(kind):
    """
    Made-up values of a kind are found whole; the written look-alikes of it are not.
    """
    rng = random.Random(kind)
    for _ in range(12):
        text, value = sample(kind, rng)
        assert spans(text, kind) == [value]
        assert any(value in text[f.start : f.end] for f in secrets.scan(text))
    for text in NEGATIVES[kind]:
        assert spans(text, kind, at=0.31) == []


@pytest.mark.parametrize("kind", [kind for kind, _ in PREFIXED])
def test_a_mark_in_a_longer_word_is_no_secret(kind):
    """
    A value that goes on in front or behind is part of something else.
    """
    rng = random.Random(kind)
    _, value = sample(kind, rng)
    if value[0].isalnum():
        assert spans(f"abc{value}", kind) != [value]
    assert spans(f"{value}{'Zz9' * 120}", kind) != [value]


@pytest.mark.parametrize("kind", sorted(checks.CHECKSUMS))
def test_a_checksum_that_does_not_fit_is_less_sure(kind):
    """
    Formats with a checksum are nearly certain where it fits, and doubtful where it does not.
    """
    rng = random.Random(3)
    text, value = sample(kind, rng)
    changed = text.replace(value, value[:-1] + ("0" if value[-1] != "0" else "1"))
    (good,), (bad,) = (secrets.scan(t, frozenset({kind})) for t in (text, changed))
    assert good.confidence > 0.95
    assert 0.5 <= bad.confidence < 0.65


@pytest.mark.parametrize(
    "value",
    ["${TOKEN}", "{{ token }}", "<your-token>", "xxxxxxxxxxxxxxxx", "changeme-please-1", "YOUR_API_KEY_123",
     "os.environ", "getToken", "aaaaaaaa", "placeholder-1234", "/run/secrets/token1", "$TOKEN", "process.env.TOKEN_1"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["api_key", "password", "secret", "token"])
def test_a_placeholder_is_no_secret(name, value):
    """
    What stands for a secret in a document or in code is none, quoted or not.
    """
    for text in (f"{name} = '{value}'", f"{name}: {value}", f'"{name}": "{value}"'):
        assert spans(text, "generic_secret") == []


def test_an_account_number_of_digits_in_sequence_is_no_placeholder():
    """
    Only what is secret in a token can be a placeholder: the numbers before it may be 123456789.
    """
    rest = "-123456789012-1234567890123-"
    assert [f.kind for f in secrets.scan("xoxb" + rest + "aB3dE5gH7jK9mN1pQ3rS5tU7")] == ["slack_bot_token"]  # fmt: skip
    assert secrets.scan("xoxb" + rest + "x" * 24) == []


def test_a_secret_is_found_in_the_midst_of_its_like():
    """
    Of many kinds in one text each is found once, and the more particular kind stands.
    """
    rng = random.Random(9)
    kinds = [
        "github_token",
        "aws_access_key",
        "slack_bot_token",
        "private_key",
        "jwt",
        "stripe_key",
    ]
    values = [sample(kind, rng)[1] for kind in kinds]
    text = "\n".join([f"export X_TOKEN='{value}'" for value in values])
    found = secrets.scan(text)
    assert [f.kind for f in found] == kinds
    assert [text[f.start : f.end] for f in found] == values


def test_a_finding_never_holds_the_value():
    """
    Nothing of the value is in a finding.
    """
    rng = random.Random(4)
    for kind in secrets.KINDS:
        text, value = sample(kind, rng)
        for finding in secrets.scan(text):
            assert value not in repr(finding)
            assert finding.reason


def test_labelled_sentences_hold_no_secret(shared_data):
    """
    None of the 750 sentences of ordinary text holds a secret.
    """
    import json

    for line in (shared_data / "detectors" / "pii_dev.jsonl").read_text().splitlines():
        assert secrets.scan(json.loads(line)["text"], at=0.31) == []


def test_a_text_too_large_errs():
    """
    Above scan_bytes_max the scan errs: rules on it fail closed.
    """
    with pytest.raises(DetectError):
        secrets.scan("é" * 600, scan_bytes_max=1000)


HOSTILE = (
    "-----BEGIN PRIVATE KEY-----", "eyJhbGciOi", "AKIA", "sk-", "password=", "secret: a1", "https://a:b@c ",
    "://:@", "bearer a", "xoxb-1", "aws key ", "token token ", "A", "datadog=", "ghp_", "a:b@", "sk-proj-a", "$2b$12$",
)  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_hostile_text_takes_linear_time(unit):
    """
    Four times the text takes four times the time, and a mebibyte of it less than a second.
    """
    size = 64 << 10

    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        begun = time.thread_time()
        secrets.scan(text, at=0.01)
        return time.thread_time() - begun

    seconds(100)
    short = seconds(size)
    assert seconds(4 * size) < 8 * short + 0.02


@given(st.text(max_size=200), st.sampled_from(secrets.KINDS), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_any_text_around_a_secret_is_scanned(text, kind, seed):
    """
    No text raises; findings are sorted and inside the text.
    """
    whole = text + sample(kind, random.Random(seed))[0] + text
    found = secrets.scan(whole, at=0.01)
    assert all(0 <= f.start < f.end <= len(whole) for f in found)
    assert [f.start for f in found] == sorted(f.start for f in found)
