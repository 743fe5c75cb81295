"""
JSON Schemas for editors, made from the models of documents and of tests.

A YAML language server completes fields, shows their descriptions and marks what does not fit while it is typed. What
a shape cannot say (paths, expressions, units) is the checker's.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter

from enforcer.policy.cases.documents import CaseFile
from enforcer.policy.documents import Policy, Stop, Tenant, Values

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PARAMETER: Final = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"}
_NOT_TEXT: Final = frozenset({"integer", "number", "boolean"})


def document_schema() -> dict[str, Any]:
    """Of a document: a policy, a tenant, named values or a stop, told apart by ``kind``."""
    union: Any = Annotated[Policy | Tenant | Values | Stop, Field(discriminator="kind")]
    schema = TypeAdapter(union).json_schema()
    return {"$schema": _DIALECT, "title": "Enforcer document", **schema}


def case_schema() -> dict[str, Any]:
    """Of a file of tests. Where a number or a word is due, a parameter of the matrix may stand."""
    schema = _with_parameters(TypeAdapter(CaseFile).json_schema())
    return {"$schema": _DIALECT, **schema, "title": "Tests of policies"}


def _with_parameters(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_parameters(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in _NOT_TEXT or "enum" in schema:
        about = {key: schema[key] for key in ("description", "title", "default") if key in schema}
        rest = {key: value for key, value in schema.items() if key not in about}
        return {**about, "anyOf": [rest, _PARAMETER]}
    return {key: _with_parameters(value) for key, value in schema.items()}
