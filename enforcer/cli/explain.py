"""``explain``: what the code of a finding means, offline."""

from __future__ import annotations

import difflib
import re
from typing import Annotated

import typer

from enforcer.cli.output import OutputFormat, OutputOption, emit, write
from enforcer.config import data
from enforcer.errors import NotFoundError

_SECTION = re.compile(r"^## (ENF\d{4}) (.+)\n((?:(?!#).*\n?)*)", re.MULTILINE)


def explain(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="As found: ENF0801, enf0801 or 0801.")
    ],
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Say what a finding means and what to write instead.

    Exit code 5 if there is no such code.
    """
    pages = sections()
    name = "ENF" + code.upper().removeprefix("ENF").zfill(4)
    if name not in pages:
        nearest = difflib.get_close_matches(name, pages, n=1, cutoff=0)[0]
        raise NotFoundError(f"there is no finding `{code}`", help=f"did you mean {nearest}?")
    title, text = pages[name]
    if output is OutputFormat.TABLE:
        write(f"{name}  {title}\n\n{text}")
    else:
        emit({"code": name, "title": title, "text": text}, output)


def sections() -> dict[str, tuple[str, str]]:
    """The codes of findings, each with its title and its page in Markdown."""
    page = (data("docs") / "errors.md").read_text(encoding="utf-8")
    return {match[1]: (match[2], match[3].strip()) for match in _SECTION.finditer(page)}
