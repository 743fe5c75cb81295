"""
The kill switch: ``Stop`` documents, which deny every request that they name.

They form a scope of their own, ``!``, which no tenant can be called, so that a set of policies that is replaced or
pruned takes no stop with it, and every worker has them by the way that all policies go: one set record, in the ledger
and in each decision's ``policy_sets``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer.policy.shape import ID_HELP, is_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.events import Request
    from enforcer.policy.documents import Stop
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node

SCOPE: Final = "!"
CODE: Final = "stopped"


class StopCode(NamedTuple):
    """A stop as requests meet it. What is None is any; what is given must all hold."""

    id: str
    tenant: str | None
    model: str | None
    provider: str | None
    message: str

    def holds(self, provider: str, model: str) -> bool:
        """Whether a call to *model* of *provider* is stopped; ``provider/model`` names a model too."""
        if self.provider not in (None, provider):
            return False
        return self.model is None or self.model in (model, f"{provider}/{model}")


def check_stop(document: Stop, node: Node, findings: Findings) -> StopCode:
    """A stop, checked. Meaningless where *findings* has errors afterwards."""
    spec, name = document.spec, document.metadata.id
    if not is_id(name):
        findings.error("ENF0206", f"`{name}` cannot be an id", node.span, help=ID_HELP)
    if not (spec.tenant or spec.model or spec.provider):
        findings.error(
            "ENF0209",
            "a stop names a `tenant`, a `model` or a `provider`",
            (node.get("spec") or node).span,
            help="to stop everything, give the scope `*` a policy with one rule: `then: deny`",
        )
    what = " ".join(
        f"{key} {value}"
        for key, value in (
            ("tenant", spec.tenant),
            ("provider", spec.provider),
            ("model", spec.model),
        )
        if value
    )
    message = f"{what} is stopped: {spec.reason}" if spec.reason else f"{what} is stopped"
    return StopCode(name, spec.tenant or None, spec.model or None, spec.provider or None, message)


def stopping(
    stops: tuple[StopCode, ...], request: Request, aliases: Mapping[str, str]
) -> StopCode | None:
    """The first of *stops* that holds for *request*, by the names it has and by those its alias stands for."""
    llm = request.llm
    behind = aliases.get(llm.model, "")
    for stop in stops:
        if stop.holds(llm.provider, llm.model):
            return stop
        if behind and stop.holds(*behind.split("/", 1)):
            return stop
    return None
