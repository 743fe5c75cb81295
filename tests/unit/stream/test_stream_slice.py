"""What is reported of one slice of verdicts once the broker has answered."""

import asyncio

import pytest

from enforcer import tracing
from enforcer.errors import UnavailableError
from enforcer.stream.slice import Slice
from enforcer.telemetry import Metrics


class Noted:
    def __init__(self):
        self.batches = []

    def batch(self, decisions, *, count, begun_ns):
        self.batches.append((len(decisions), count))


@pytest.mark.parametrize(("failure", "told"), [(None, [(1, 2)]), (UnavailableError("no"), [])])
async def test_a_span_tells_of_verdicts_that_were_acknowledged_alone(failure, told):
    """A batch that the broker did not take was told to nobody, and no trace may say otherwise."""
    spans = Noted()
    slice_ = Slice(spans)
    slice_.told = [(None, b"verdict", (), None)] * 2
    slice_._traced = [tracing.Traced(b"", 1, 2, {})]
    ack = asyncio.get_running_loop().create_future()
    slice_.report(Metrics(), ack)
    if failure is None:
        ack.set_result(0)
    else:
        ack.set_exception(failure)
    await asyncio.sleep(0.01)
    assert spans.batches == told
