"""
The SDK: a gateway asks for a verdict, waits for it up to a deadline, acts on it and reports usage.

    async with Gateway("localhost:9092") as gateway:
        outcome = await gateway.decide(request, deadline_ms=500)
        if outcome.allowed:
            answer = await call_model(outcome.request)
            await gateway.report({"request_id": ..., "tenant": ..., "output_tokens": ...})
"""

from enforcer.client.gateway import Gateway
from enforcer.client.guard import guard
from enforcer.client.outcome import Outcome, Stats

__all__ = ["Gateway", "Outcome", "Stats", "guard"]
