"""``tokens``: how many tokens a text or a chat has, and how that is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.line_files import answer_lines, text_of
from enforcer.cli.output import OutputFormat, OutputOption
from enforcer.errors import RequestError

if TYPE_CHECKING:
    from enforcer.detect.tokens import TokenCount


def tokens(
    source: Annotated[
        Path,
        typer.Option(
            "--input", "-i", help="An object a line, as JSON; `-` is stdin.", allow_dash=True
        ),
    ],
    output: OutputOption = OutputFormat.JSONL,
) -> int:
    """
    Count the tokens of each line: `{text, encoding}`, `{text, model}` or `{model, chat}`.

    `chat` is a body of OpenAI's chat API, tools included. The answer is `{tokens, method}`, and
    `error_bound` where the method is an estimate. A line that is none of these is answered `{error}`.
    """
    return answer_lines(source, output, _count)


def _count(row: dict[str, Any]) -> dict[str, Any]:
    from enforcer.detect import openai_body, tokens  # noqa: PLC0415 — vocabularies take their time
    from enforcer.detect.vocabulary import UnknownVocabularyError  # noqa: PLC0415 — as above

    provider = row.get("provider", "")
    provider = provider if isinstance(provider, str) else ""
    if "chat" in row:
        if not isinstance(row["chat"], dict):
            raise RequestError("`chat` is a chat body", code="invalid_request", place="chat")
        model = row.get("model", row["chat"].get("model"))
        if not isinstance(model, str):
            raise RequestError("`model` must be a text", code="invalid_request", place="model")
        request = openai_body.chat_request(model, row["chat"], provider)
        return _shown(tokens.count_request(request))
    text = text_of(row, "text")
    if "encoding" in row:
        try:
            return _shown(tokens.count_in(text, text_of(row, "encoding")))
        except UnknownVocabularyError as error:
            raise RequestError(str(error), code="invalid_request", place="encoding") from None
    if "model" not in row:
        raise RequestError(
            "the line has neither `model` nor `encoding`", code="invalid_request", place="model"
        )
    return _shown(tokens.count_text(text, text_of(row, "model"), provider))


def _shown(count: TokenCount) -> dict[str, Any]:
    shown: dict[str, Any] = {"tokens": count.tokens, "method": count.method}
    if count.error_bound:
        shown["error_bound"] = count.error_bound
    return shown
