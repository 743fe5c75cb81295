"""A large request waits for its texts to be read elsewhere, and holds up what is behind it and nobody else."""

import asyncio
from types import SimpleNamespace

from stream_desk import ACME, Cluster, Office, deny_word, position, until
from test_stream_agent_life import Floor, decided

from enforcer import detect, events
from enforcer.stream.inputs import Inputs
from enforcer.stream.lookahead import READ_ELSEWHERE_MAX, ReadElsewhere
from enforcer.stream.poison import Care

LONG = "only words " * 4_000


class Desk:
    """Readers that answer when they are told to."""

    def __init__(self):
        self.asked = []

    async def read(self, texts, wanted):
        self.asked.append((texts, wanted, asyncio.get_running_loop().create_future()))
        await self.asked[-1][2]
        return [detect.facts_of(text, wanted) for text in texts]

    def answer(self, number):
        self.asked[number][2].set_result(None)


async def floor(*, starts=0):
    """An agent with such readers, deciding; *starts* at this place before it."""
    made = Floor(Cluster())
    if starts:
        row = events.encode_position_row(position(starts=starts))
        made.cluster.log("state").append(b"p", row)
    made.cluster.put_set(ACME, deny_word("forbidden"))
    made.office.text_readers = Desk()
    await made.start()
    return made, made.office.text_readers


def told(cluster):
    return [decision.request_id for decision in cluster.told()]


async def test_a_large_request_waits_and_those_behind_it_keep_their_order():
    """What came before is decided at once; the large one and those behind it when its texts are read."""
    agent, readers = await floor()
    for name, prompt in (("r1", "hi"), ("r2", LONG), ("r3", "hi")):
        agent.cluster.ask(name, prompt=prompt)
    agent.pump()
    await until(lambda: told(agent.cluster) == ["r1"])
    await asyncio.sleep(0.1)
    assert told(agent.cluster) == ["r1"]
    ((texts, wanted, _),) = readers.asked
    assert [each.text for each in texts] == [LONG]
    assert wanted.vocabulary
    readers.answer(0)
    await until(lambda: told(agent.cluster) == ["r1", "r2", "r3"])
    await agent.end()
    assert decided(agent.cluster) == ["r1", "r2", "r3"]


async def test_few_are_read_at_once_and_all_in_the_end():
    """However many are queued."""
    agent, readers = await floor()
    names = [f"r{n}" for n in range(READ_ELSEWHERE_MAX + 3)]
    for name in names:
        agent.cluster.ask(name, prompt=LONG)
    agent.pump()
    for number in range(len(names)):
        await until(lambda wanted=number: len(readers.asked) > wanted)
        assert len(readers.asked) <= number + READ_ELSEWHERE_MAX
        readers.answer(number)
    await until(lambda: told(agent.cluster) == names)
    await agent.end()


async def test_a_planned_stop_waits_for_what_is_being_read():
    """A drain decides what was fetched, the large one too."""
    agent, readers = await floor()
    agent.cluster.ask("r1", prompt=LONG)
    agent.pump()
    await until(lambda: readers.asked)
    agent.agent.release(drain=True)
    await asyncio.sleep(0.05)
    assert not agent.task.done()
    readers.answer(0)
    await asyncio.wait_for(agent.task, 5)
    assert decided(agent.cluster) == ["r1"]


async def test_a_replaced_agent_waits_for_nobody():
    """Its partition is another's: what is being read is the next owner's."""
    agent, readers = await floor()
    agent.cluster.ask("r1", prompt=LONG)
    agent.pump()
    await until(lambda: readers.asked)
    agent.agent.release(drain=False)
    await asyncio.wait_for(agent.task, 5)
    assert readers.asked[0][2].cancelled()
    assert decided(agent.cluster) == []


async def test_while_a_death_is_looked_for_nothing_is_read_before_its_turn():
    """A text that kills must be met by the record that is on trial, and be named by it."""
    agent, readers = await floor(starts=4)
    agent.cluster.ask("r1", prompt=LONG)
    await agent.commits()
    assert decided(agent.cluster) == ["r1"]
    assert readers.asked == []
    await agent.end()


async def test_what_was_redone_meanwhile_is_not_read():
    """Verdicts of the tail wait for no text: their requests are not read when their turn is over, and hold nothing up."""
    inputs = Inputs(0, 0, lone_wait_s=0, at_end=lambda _name: True)
    desk = Desk()
    foresight = SimpleNamespace(
        read_long=lambda *_: SimpleNamespace(ahead=object(), texts=[], wanted=None, found={})
    )
    elsewhere = ReadElsewhere(desk, foresight, None, inputs)
    cluster = Cluster()
    for number in range(READ_ELSEWHERE_MAX + 3):
        cluster.ask(f"r{number}", prompt=LONG)
    fed = inputs.feed("requests", Office(cluster).fetched("requests", 0))
    elsewhere.fed(fed, Care(starts=0, trying=None, trying_count=0, counts=False), now_us=0)
    await until(lambda: len(desk.asked) == READ_ELSEWHERE_MAX)
    for _ in range(READ_ELSEWHERE_MAX + 2):
        inputs.requests.pop()
    desk.answer(0)
    last = READ_ELSEWHERE_MAX + 2
    await until(lambda: last in inputs.held)
    assert inputs.held == {1, 2, 3, last}
    elsewhere.close()
