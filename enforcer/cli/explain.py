"""``explain``: what the code of a finding or of a verdict means, offline."""

from __future__ import annotations

import difflib
import re
from typing import Annotated

import typer

from enforcer.cli.output import OutputFormat, OutputOption, emit, write
from enforcer.config import data
from enforcer.errors import NotFoundError

_NUMBER = re.compile(r"(?:ENF)?\d{1,4}", re.IGNORECASE)
_SECTION = re.compile(r"^## (ENF\d{4}) (.+)\n((?:(?!#).*\n?)*)", re.MULTILINE)
_VERDICT = re.compile(r"^## `([a-z_]+)`\n((?:(?!#).*\n?)*)", re.MULTILINE)


def explain(
    code: Annotated[
        str,
        typer.Argument(
            metavar="CODE",
            help="As found: ENF0801, enf0801 or 0801; or of a verdict: unknown_tenant.",
        ),
    ],
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Say what a finding means and what to write instead, or why the engine itself denies.

    Exit code 5 if there is no such code.
    """
    pages = sections()
    name = "ENF" + code.upper().removeprefix("ENF").zfill(4)
    name = code.lower() if code.lower() in pages else name
    if name not in pages:
        raise NotFoundError(f"there is no code `{code}`", help=_help(code, name, pages))
    title, text = pages[name]
    if output is OutputFormat.TABLE:
        write(f"{name}  {title}".rstrip() + f"\n\n{text}")
    else:
        emit({"code": name, "title": title, "text": text}, output)


def _help(code: str, name: str, pages: dict[str, tuple[str, str]]) -> str:
    """The nearest code of the same kind."""
    if _NUMBER.fullmatch(code):
        return f"did you mean {difflib.get_close_matches(name, pages, n=1, cutoff=0)[0]}?"
    nearest = difflib.get_close_matches(code.lower(), pages, n=1)
    if nearest:
        return f"did you mean {nearest[0]}?"
    return "codes of findings are ENF and four digits; those of verdicts stand at the end of docs/errors.md; a rule's own code is in its policy"


def sections() -> dict[str, tuple[str, str]]:
    """The codes of findings and verdicts, each with its title (verdicts have none) and its page in Markdown."""
    page = (data("docs") / "errors.md").read_text(encoding="utf-8")
    findings = {match[1]: (match[2], match[3].strip()) for match in _SECTION.finditer(page)}
    return findings | {match[1]: ("", match[2].strip()) for match in _VERDICT.finditer(page)}
