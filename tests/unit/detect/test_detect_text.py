"""The text of a request: which strings, where, in which order."""

from enforcer import detect
from enforcer.events import Llm, Message, Part, Request, ToolCall


def request(**llm) -> Request:
    return Request(id="r", tenant="t", llm=Llm(provider="openai", model="gpt-4o", **llm))


def resolve(pointer: str, root: Request):
    value = root
    for step in pointer.split("/")[1:]:
        value = value[int(step)] if isinstance(value, list) else getattr(value, step)
    return value


def everything() -> Request:
    return request(
        prompt="p",
        messages=[
            Message(role="system", content="s"),
            Message(role="user", content=[Part(type="text", text="a"), Part(type="image"), Part(type="text", text="b")]),
            Message(role="assistant", content="", tool_calls=[ToolCall(name="f", arguments='{"x":1}'), ToolCall(name="g")]),
            Message(role="tool", content="result", tool_call_id="1"),
        ],
    )  # fmt: skip


def test_every_text_is_a_part_in_order():
    """
    Prompt, string contents, text parts, tool arguments and results stand in order; empties do not.
    """
    assert detect.text_parts(everything()) == [
        ("/llm/prompt", "p"),
        ("/llm/messages/0/content", "s"),
        ("/llm/messages/1/content/0/text", "a"),
        ("/llm/messages/1/content/2/text", "b"),
        ("/llm/messages/2/tool_calls/0/arguments", '{"x":1}'),
        ("/llm/messages/3/content", "result"),
    ]


def test_a_pointer_leads_to_its_text():
    """
    Each JSON pointer, followed through the request, ends at the text it stands with.
    """
    whole = everything()
    assert all(resolve(pointer, whole) == text for pointer, text in detect.text_parts(whole))


def test_prompt_joins_the_parts():
    """
    The fact llm.prompt is all parts joined by newlines, of one message its very string.
    """
    assert detect.prompt(everything()) == 'p\ns\na\nb\n{"x":1}\nresult'
    assert detect.prompt(request(messages=[Message(role="user", content="alone")])) == "alone"
    assert detect.prompt(request()) == ""
