"""Documents to the programs of tenants, composed as an agent composes them; nothing of the data plane is imported."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from enforcer import policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def programs(
    documents: Iterable[policy.Document],
) -> Callable[[str], policy.TenantProgram]:
    """Programs by tenant, each made when it is first asked for."""
    by_scope: dict[str, list[policy.Document]] = defaultdict(list)
    for document in documents:
        by_scope[document.scope].append(document)
    compiled = {scope: policy.compile_scope(found, scope) for scope, found in by_scope.items()}
    composed: dict[str, policy.TenantProgram] = {}

    def program_of(tenant: str) -> policy.TenantProgram:
        program = composed.get(tenant)
        if program is None:
            own = compiled.get(tenant)
            program = composed[tenant] = policy.compile_tenant(compiled.get("*"), own, tenant)
        return program

    return program_of
