"""
The kill switch: one Stop document into force, or out of it, the way all policies go.

A stop is a document of the scope ``!`` (``enforcer.policy.stops``), so that it is in the history, in every ledger and in
each decision's ``policy_sets``, survives restarts, and is in force on every agent as fast as any policy.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from enforcer import policy
from enforcer.control import policies
from enforcer.policy.findings import raise_errors
from enforcer.policy.stops import SCOPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.broker.ports import Broker
    from enforcer.control.published import Signing


async def stop(
    broker: Broker,
    prefix: str,
    names: Mapping[str, str],
    *,
    undo: bool = False,
    reason: str = "",
    author: str = "",
    signing: Signing | None = None,
) -> list[policies.SetChange]:
    """
    The kill switch: deny every request that *names* name, or *undo* that.

    Args:
        names: ``tenant``, ``model``, ``provider``, one or more; all that are given must hold.
        undo: Take the stop of exactly these names out of force.
        reason: What callers are told.
        author: Who does it, for the record.
        signing: Where policies are signed.

    Returns: The change of the scope of stops; none where it is stopped already, for the same reason.
    Raises: NotFoundError for an undo of what is not stopped; PolicyError; ConflictError.
    """
    name = stop_id(names)
    if undo:
        return await policies.delete(
            broker, prefix, name, scope=SCOPE, author=author, signing=signing
        )
    body = {
        "apiVersion": "enforcer/v1",
        "kind": "Stop",
        "metadata": {"id": name},
        "spec": {**names, **({"reason": reason} if reason else {})},
    }
    loaded = policy.load([("stop.json", orjson.dumps(body).decode())])
    raise_errors(loaded.findings)
    return await policies.apply(broker, prefix, loaded.documents, author=author, signing=signing)


def stop_id(names: Mapping[str, str]) -> str:
    """The id of the stop of *names*: the same names have the same id, others another."""
    text = "+".join(
        f"{key}:{names[key]}" for key in ("tenant", "provider", "model") if key in names
    )
    short = "".join(c if c.isascii() and (c.isalnum() or c in "._:@+-") else "." for c in text)[
        :100
    ]
    if short == text:
        return text
    return f"{short}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
