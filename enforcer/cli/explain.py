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
    page = (data("docs") / "errors.md").read_text(encoding="utf-8")
    sections = {match[1]: (match[2], match[3].strip()) for match in _SECTION.finditer(page)}
    name = "ENF" + code.upper().removeprefix("ENF").zfill(4)
    if name not in sections:
        nearest = difflib.get_close_matches(name, sections, n=1, cutoff=0)[0]
        raise NotFoundError(f"there is no finding `{code}`", help=f"did you mean {nearest}?")
    title, text = sections[name]
    if output is OutputFormat.TABLE:
        write(f"{name}  {title}\n\n{text}")
    else:
        emit({"code": name, "title": title, "text": text}, output)
