"""Models of others: what they add, and what happens when they fail."""

import threading
from datetime import date

import pytest

from enforcer import detect
from enforcer.detect import DetectError, FactCache, Models, RequestFacts
from enforcer.errors import ConfigError
from enforcer.events import Llm, Message, Request
from enforcer.models import Guarded, OnnxClassifier
from tests.unit.models.tiny_model import tiny_model

DAY = date(2026, 11, 2)


def request(*texts):
    messages = [Message(role="user", content=text) for text in texts]
    return Request(
        id="r", tenant="t", llm=Llm(provider="openai", model="gpt-4o", messages=messages)
    )


def test_an_answer_is_the_work_s():
    """What works is asked and answers, time and again."""
    guarded = Guarded("classifier", len)
    assert [guarded("ab"), guarded("")] == [2, 0]


def test_a_failure_is_an_error_without_the_text():
    """The error names the kind of failure and never quotes what was read."""

    def work(text):
        raise ValueError(f"cannot read {text}")

    with pytest.raises(DetectError, match="ValueError") as caught:
        Guarded("ner", work)("a secret")
    assert caught.value.code == "model_failed"
    assert "secret" not in str(caught.value)


def test_a_late_answer_is_an_error_and_keeps_its_place():
    """A call that is given up runs on; when every place is taken, the next is refused at once."""
    go = threading.Event()
    guarded = Guarded("ner", lambda _: go.wait(20), deadline_ms=20, threads=1, waiting_max=0)
    with pytest.raises(DetectError) as late:
        guarded("x")
    with pytest.raises(DetectError) as busy:
        guarded("x")
    go.set()
    assert (late.value.code, busy.value.code) == ("model_late", "model_busy")


def test_the_breaker_opens_and_tries_again():
    """After failures in a row nothing is called; after so many refusals one call tries, and its success closes it."""
    calls = []

    def work(text):
        calls.append(text)
        if len(calls) <= 3:
            raise OSError
        return 1

    guarded = Guarded("classifier", work, failures_max=3, refused_max=4)
    codes = []
    for _ in range(9):
        try:
            codes.append(guarded("x"))
        except DetectError as error:
            codes.append(error.code)
    assert codes == ["model_failed"] * 3 + ["model_open"] * 4 + [1, 1]
    assert len(calls) == 5
    assert not guarded.is_open


def test_entities_stand_beside_findings():
    """A recogniser's entities count once, of the asked kinds, from .5 on; what the detectors found is not counted twice."""
    text = "Zaphod wrote to a@b.com"
    found = [
        ("name", 0, 6, 0.9),
        ("email", 16, 23, 0.99),
        ("name", 7, 12, 0.2),
        ("address", 0, 6, 0.9),
    ]
    models = Models(entities=lambda _: found)
    facts = RequestFacts(request(text), day=DAY, models=models, kinds=frozenset({"name", "email"}))
    assert facts.pii_counts == {"email": 1, "name": 1}
    also = [(start, end, kind) for kind, start, end, _ in models.found(text, frozenset({"name"}))]
    splices = detect.redact_by(text, {"name": "label", "email": "remove"}, also=also)
    assert detect.apply_splices(text, splices) == "[NAME_REDACTED] wrote to "


def test_a_classifier_raises_the_score():
    """The higher score stands, with a signal of its own; the answer is kept with the text's other facts."""
    asked = []

    def classifier(text):
        asked.append(text)
        return 0.8 if "odd" in text else 0.0

    models = Models(classifier=classifier)
    cache = FactCache(b"k" * 32)
    for _ in range(2):
        facts = RequestFacts(request("odd " * 60, "plain"), day=DAY, cache=cache, models=models)
        assert facts.injection_score == 0.8
        assert "classifier" in facts.injection_signals
    assert len(asked) == 2
    assert RequestFacts(request("plain"), day=DAY, models=models).injection_signals == []


def test_a_failing_model_is_the_facts_error():
    """No score is guessed: the fact errs, and a deny rule that reads it denies."""

    def work(_):
        raise OSError

    facts = RequestFacts(
        request("x"), day=DAY, models=Models(classifier=Guarded("classifier", work))
    )
    with pytest.raises(DetectError):
        _ = facts.injection_score


def test_an_onnx_model_is_loaded_and_asked():
    """The model's own session answers: letters beyond 'd' have ids above 100, and are an attack to this one."""
    pytest.importorskip(
        "onnxruntime", reason="THE EXTRA onnx IS NOT INSTALLED: the classifier is not tested"
    )
    classifier = OnnxClassifier(tiny_model(), lambda text: list(text.encode()))
    assert classifier("aaa") < 0.1
    assert classifier("aaaz") > 0.9
    assert classifier("a" * 2000 + "z") > 0.9
    assert classifier("") < 0.1
    facts = RequestFacts(
        request("zebra"),
        day=DAY,
        models=Models(classifier=Guarded("classifier", classifier, deadline_ms=5000)),
    )
    assert facts.injection_score > 0.9


@pytest.mark.parametrize("model", [b"", b"no model", tiny_model("words")])
def test_what_is_no_such_model_is_the_operators_error(model):
    """Bytes that are no model, and a model with other inputs, are refused when it is loaded."""
    pytest.importorskip(
        "onnxruntime", reason="THE EXTRA onnx IS NOT INSTALLED: the classifier is not tested"
    )
    with pytest.raises(ConfigError):
        OnnxClassifier(model, lambda text: list(text.encode()))
