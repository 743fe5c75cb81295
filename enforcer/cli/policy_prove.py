"""``policy prove`` and ``policy equivalent``: what policies decide, for every request there can be."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.findings_report import report
from enforcer.cli.output import OutputFormat, OutputOption, emit, note, write
from enforcer.cli.policy_files import load
from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer import policy
    from enforcer.policy.proving import Answer

EXIT_FAILED = 4
EXIT_CHANGES = 10
_VERDICTS = ("allow", "warn", "modify", "deny")
NOW_US = 1_750_000_000_000_000
"""Event time of counter-examples that say none."""

PoliciesOption = Annotated[
    list[Path], typer.Argument(metavar="PATH…", help="Files or folders with documents.")
]
TenantOption = Annotated[
    str | None,
    typer.Option("--tenant", help="Whose requests; needed where documents name several tenants."),
]


def prove(
    paths: PoliciesOption,
    then: Annotated[
        str,
        typer.Option(help="CEL that must hold; `verdict`, `codes` and `reasons` are facts in it."),
    ],
    when: Annotated[str, typer.Option(help="CEL: the requests it is asked of.")] = "true",
    tenant: TenantOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """
    Prove that every request for which --when holds is decided as --then says, or show one that is not.

    Exit code 0: proved. 4: a counter-example, which `enforcer eval` decides the same way; or undecided, with
    the places that are. `codes` are those of the reasons, `reasons` their rules as `policy/rule`.

    Needs the extra `proof`: pip install 'llm-enforcer[proof]'.
    """
    if then in _VERDICTS:
        raise ConfigError(
            f"--then is an expression, and `{then}` a verdict",
            code="usage",
            help=f"""write --then 'verdict == "{then}"'""",
        )
    documents = _loaded(paths)
    if documents is None:
        return 3
    whose = _tenant(documents, tenant)
    from enforcer.policy import proving  # noqa: PLC0415 — the solver takes its time to load

    def confirm(request: dict[str, Any]) -> bool:
        return _is_counter_example(documents, request, when, then)

    answer = proving.prove(documents, whose, when=when, then=then, confirm=confirm)
    _tell(answer, output, decided=lambda request: [_decision(documents, request)])
    return 0 if answer.result == "proved" else EXIT_FAILED


def equivalent(
    one: Annotated[Path, typer.Argument(help="A file or folder with documents.")],
    other: Annotated[Path, typer.Argument(help="Another.")],
    tenant: TenantOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """
    Prove that two sets of policies decide every request alike, verdict and codes, or show one that they do not.

    Exit code 0: equivalent. 10: a request that they decide differently. 4: undecided.
    """
    first, second = _loaded([one]), _loaded([other])
    if first is None or second is None:
        return 3
    whose = _tenant((*first, *second), tenant)
    from enforcer.policy import proving  # noqa: PLC0415 — as above

    def confirm(request: dict[str, Any]) -> bool:
        return _summary(_decision(first, request)) != _summary(_decision(second, request))

    answer = proving.equivalent(first, second, whose, confirm=confirm)
    _tell(
        answer,
        output,
        decided=lambda request: [_decision(first, request), _decision(second, request)],
    )
    return {"proved": 0, "refuted": EXIT_CHANGES, "undecided": EXIT_FAILED}[answer.result]


def _loaded(paths: list[Path]) -> tuple[policy.Document, ...] | None:
    """The documents; None, and findings on stdout, where they do not check."""
    if find_spec("z3") is None:
        raise ConfigError(
            "proofs need a solver that is not installed",
            help="pip install 'llm-enforcer[proof]'",
        )
    loaded = load(paths)
    if loaded.has_errors:
        report(loaded.findings, OutputFormat.TABLE)
        return None
    return loaded.documents


def _tenant(documents: tuple[policy.Document, ...], asked: str | None) -> str:
    """Whose requests are asked about: the only tenant that the documents name, or the one given."""
    named = sorted({each.scope for each in documents} - {"*", "!"})
    if asked is not None:
        return asked
    if len(named) > 1:
        raise ConfigError(
            f"the documents name several tenants: {', '.join(named)}", help="say which: --tenant"
        )
    return named[0] if named else "anybody"


def _known(documents: tuple[policy.Document, ...], tenant: str) -> tuple[policy.Document, ...]:
    """*documents*, with one that makes *tenant* known: policies of everybody need some tenant to decide for."""
    from enforcer import policy  # noqa: PLC0415 — the checker takes its time to load

    if any(each.scope == tenant for each in documents):
        return documents
    text = json.dumps(
        {"apiVersion": "enforcer/v1", "kind": "Tenant", "metadata": {"id": tenant}, "spec": {}}
    )
    return (*documents, *policy.load([("tenant.json", text)]).documents)


def _decision(documents: tuple[policy.Document, ...], request: dict[str, Any]) -> dict[str, Any]:
    """How the engine decides a request, with no money spent before it."""
    from enforcer.cli.eval import _answers  # noqa: PLC0415 — as above

    line = json.dumps(request).encode()
    known = _known(documents, str(request["tenant"]))
    return next(iter(_answers(known, iter([line]), NOW_US, step_us=0)))


def _summary(decision: dict[str, Any]) -> tuple[str, frozenset[str]]:
    return decision["verdict"], frozenset(reason["code"] for reason in decision["reasons"])


def _short(decision: dict[str, Any]) -> dict[str, Any]:
    """What a proof speaks of, of a decision."""
    return {key: decision[key] for key in ("verdict", "reasons", "edits", "warnings", "errors")}


def _is_counter_example(
    documents: tuple[policy.Document, ...], request: dict[str, Any], when: str, then: str
) -> bool:
    """Whether the engine decides a request for which *when* holds otherwise than *then* says."""
    from enforcer import cel, policy  # noqa: PLC0415 — as above

    decision = _decision(documents, request)
    told = {
        "verdict": decision["verdict"],
        "codes": [reason["code"] for reason in decision["reasons"]],
        "reasons": [f"{reason['policy']}/{reason['rule']}" for reason in decision["reasons"]],
    }
    asked = [cel.show(_with(cel.parse(text).root, told)) for text in (when, then)]
    rule = {
        "id": "asked",
        "then": "warn",
        "code": "ASKED",
        "when": f"({asked[0]}) && !({asked[1]})",
    }
    question = {
        "apiVersion": "enforcer/v1",
        "kind": "Policy",
        "metadata": {"id": "question", "tenant": request["tenant"]},
        "spec": {"rules": [rule]},
    }
    values = tuple(each for each in documents if each.kind in {"Values", "Tenant"})
    loaded = policy.load([("question.json", json.dumps(question))])
    answer = _decision((*values, *loaded.documents), request)
    return any(each["code"] == "ASKED" for each in answer["warnings"] + answer["reasons"])


def _with(root: Any, told: dict[str, Any]) -> Any:
    """An expression with what was decided in the place of its names."""
    from enforcer.cel.syntax import Ident, ListDisplay, Literal, rewritten  # noqa: PLC0415 — as above

    def change(node: Any) -> Any:
        if not isinstance(node, Ident) or node.name not in told:
            return node
        value = told[node.name]
        if isinstance(value, str):
            return Literal(value)
        return ListDisplay(tuple(Literal(each) for each in value))

    return rewritten(root, change)


def _tell(
    answer: Answer,
    output: OutputFormat,
    *,
    decided: Callable[[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    decisions = decided(answer.request) if answer.request is not None else []
    if output is not OutputFormat.TABLE:
        found: dict[str, Any] = {"result": answer.result}
        if answer.request is not None:
            found |= {
                "counter_example": answer.request,
                "decisions": [_short(d) for d in decisions],
            }
        if answer.undecided:
            found["undecided"] = list(answer.undecided)
        emit(found, output)
        return
    if answer.result == "proved":
        write("proved: it holds for every request")
    for place in answer.undecided:
        write(f"undecided: {place}")
    if answer.request is not None:
        write("refuted by this request:")
        write(json.dumps(answer.request, ensure_ascii=False))
        for decision in decisions:
            codes = ", ".join(sorted({each["code"] for each in decision["reasons"]}))
            write(f"  decided: {decision['verdict']}" + (f" ({codes})" if codes else ""))
        note("`enforcer eval` decides it the same way")
