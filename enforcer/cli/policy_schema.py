"""``policy schema``: the JSON Schema that an editor completes and marks policies by."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from enforcer.cli.output import write


def schema(
    tests: Annotated[
        bool, typer.Option("--tests", help="Of files of tests, `*.test.yaml`, instead.")
    ] = False,
) -> None:
    """
    Print the JSON Schema of policies, for editors with a YAML language server.

    A file names it in its first line: `# yaml-language-server: $schema=policy.schema.json`. The schemas are also in
    the source tree, under `schemas/`.
    """
    from enforcer.policy import schema as schemas  # noqa: PLC0415 — the models take their time to load

    found = schemas.case_schema() if tests else schemas.document_schema()
    write(json.dumps(found, indent=2, ensure_ascii=False))
