"""
Every verb: where its code is, in which panel it stands, and what it does in one line.

To add a verb, write its module and add a row. A row's target is ``module:attribute``; the attribute
is a function (one command) or a ``typer.Typer`` (a group). A row whose module does not exist is not
listed. The module is imported only when its verb is called, so it may import what it likes; the text
here must do for ``enforcer --help``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

TRY, RUN, POLICIES, INSPECT = "Try it", "Run it", "Policies", "Inspect"


@dataclass(frozen=True, slots=True)
class Verb:
    """One row: a verb of the command line."""

    name: str
    target: str
    panel: str
    summary: str
    examples: tuple[str, ...]
    """Shown at the end of the verb's own help; the first also at the end of the overview."""
    more_examples: tuple[str, ...] = ()
    """Of a group's commands; shown, with those of ``examples``, at the end of the command's own help."""

    @property
    def exists(self) -> bool:
        """Is its module there? Looks for the file and imports nothing but the package."""
        return find_spec(self.target.partition(":")[0]) is not None

    def examples_of(self, command: str) -> tuple[str, ...]:
        """Those of one command of this group."""
        every = (*self.examples, *self.more_examples)
        return tuple(each for each in every if each.split()[1:3] == [self.name, command])

    def load(self) -> object:
        """Import its module and return the command function or the group."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


VERBS: tuple[Verb, ...] = (
    Verb(
        "demo",
        "enforcer.cli.demo:demo",
        TRY,
        "Start everything here and enforce live traffic before your eyes.",
        ("enforcer demo", "enforcer demo --seconds 20 --output json"),
    ),
    Verb(
        "up",
        "enforcer.cli.stack:up",
        TRY,
        "Start the local Kafka; no Docker, Java or root needed.",
        ("enforcer up", "enforcer up --port 9092"),
    ),
    Verb(
        "down",
        "enforcer.cli.stack:down",
        TRY,
        "Stop the local Kafka; its data stays.",
        ("enforcer down",),
    ),
    Verb(
        "status",
        "enforcer.cli.stack:status",
        TRY,
        "Say whether the local Kafka runs, and where.",
        ("enforcer status", "enforcer status --output json"),
    ),
    Verb(
        "worker",
        "enforcer.cli.worker:worker",
        RUN,
        "Run agents that decide requests.",
        (
            "enforcer worker --metrics-port 9464",
            "enforcer worker --processes 4 --metrics-port 9464",
            "enforcer worker --bootstrap kafka-1:9092,kafka-2:9092",
        ),
    ),
    Verb(
        "topics",
        "enforcer.cli.topics:app",
        RUN,
        "Make the broker's topics agree with the specification.",
        ("enforcer topics apply", "enforcer topics diff", "enforcer topics acls --print"),
        (
            "enforcer topics apply --partitions 24",
            "enforcer topics diff --output json",
            "enforcer topics repartition --partitions 24",
        ),
    ),
    Verb(
        "send",
        "enforcer.cli.traffic:send",
        RUN,
        "Produce requests from a file and print their verdicts.",
        ("enforcer send requests.jsonl",),
    ),
    Verb(
        "policy",
        "enforcer.cli.policy:app",
        POLICIES,
        "Check and test policies, and put them in force.",
        (
            "enforcer policy check policies/",
            "enforcer policy test policies/ --threshold 100",
            "enforcer policy apply policies/ --wait",
            "enforcer policy stop --model gpt-4o --wait",
            "enforcer policy keygen author.key",
        ),
        (
            "enforcer policy check policies/ --output sarif",
            "enforcer policy fmt policies/",
            "enforcer policy fmt --check policies/",
            "enforcer policy compile policies/ --explain",
            """enforcer policy prove policies/ --tenant acme --when 'llm.model == "gpt-4o"' --then 'verdict == "deny"'""",
            "enforcer policy equivalent before.yaml after.yaml",
            "enforcer policy import rules.yaml --tenant acme --out policies/",
            "enforcer policy schema > enforcer.schema.json",
            "enforcer policy sign --adopt --sign-key author.key",
            "enforcer policy stop --tenant acme --undo",
            "enforcer policy list --output json",
            "enforcer policy show production-guard",
            "enforcer policy delete production-guard",
        ),
    ),
    Verb(
        "explain",
        "enforcer.cli.explain:explain",
        POLICIES,
        "Say what the code of a finding means.",
        ("enforcer explain ENF0801",),
    ),
    Verb(
        "eval",
        "enforcer.cli.eval:evaluate",
        POLICIES,
        "Decide requests from a file, with no broker.",
        ("enforcer eval --policies policies/ --input requests.jsonl --output jsonl",),
    ),
    Verb(
        "cel",
        "enforcer.cli.cel:cel",
        POLICIES,
        "Evaluate expressions, one or a file of them.",
        (
            """enforcer cel "size(roles) > 1" --vars '{"roles": ["dev", "ops"]}'""",
            "enforcer cel --input rows.jsonl --output jsonl",
        ),
    ),
    Verb(
        "tail",
        "enforcer.cli.traffic:tail",
        INSPECT,
        "Follow decisions or the audit ledger.",
        ("enforcer tail decisions", "enforcer tail audit --output jsonl"),
    ),
    Verb(
        "audit",
        "enforcer.cli.audit:app",
        INSPECT,
        "Verify the chain of the audit ledger.",
        ("enforcer audit verify",),
        (
            "enforcer tail audit --no-follow --from-beginning --output raw > ledger.jsonl",
            "enforcer audit verify ledger.jsonl --output json",
        ),
    ),
    Verb(
        "doctor",
        "enforcer.cli.doctor:doctor",
        INSPECT,
        "Say whether an installation is ready, each line with its fix.",
        ("enforcer doctor", "enforcer doctor --output json"),
    ),
    Verb(
        "replay",
        "enforcer.cli.replay:replay",
        INSPECT,
        "Decide recorded traffic again: what other policies would change.",
        (
            "enforcer replay --policies candidate/ --since 24h --fail-on deny-to-allow",
            "enforcer replay --last-demo --output json",
            "enforcer replay --request r1",
        ),
    ),
    Verb(
        "shadow",
        "enforcer.cli.shadow:app",
        INSPECT,
        "See what policies in shadow would have changed.",
        ("enforcer shadow report", "enforcer shadow report --since 24h --output json"),
    ),
    Verb(
        "scan",
        "enforcer.cli.scan:scan",
        INSPECT,
        "Find personal data, secrets and injection in texts from a file.",
        ("enforcer scan --input texts.jsonl --detectors pii,secrets",),
    ),
    Verb(
        "tokens",
        "enforcer.cli.tokens:tokens",
        INSPECT,
        "Count the tokens of texts and chats from a file.",
        ("enforcer tokens --input texts.jsonl",),
    ),
    Verb(
        "cost",
        "enforcer.cli.cost:cost",
        INSPECT,
        "Price calls from a file, and find cheaper models.",
        ("enforcer cost --input calls.jsonl --compare",),
    ),
    Verb(
        "bench",
        "enforcer.cli.bench:app",
        INSPECT,
        "Measure, always beside a baseline.",
        ("enforcer bench latency --rounds 3", "enforcer bench stream"),
        (
            "enforcer bench stream --rounds 1 --seconds 5 --output json",
            "enforcer bench stream --rounds 1 --seconds 5 --turns 6",
            "enforcer bench latency --rounds 1 --flame worker.svg",
            "enforcer bench eval --rounds 3",
            "enforcer bench tracing --rounds 3",
            "enforcer bench policies --rounds 1 --seconds 5 --rate 100",
            "enforcer bench detect --output json",
            "enforcer bench restore --rows 100000 --rounds 1",
            "enforcer bench failover --repeats 1 --kinds killed",
            "enforcer bench leases --seconds 10 --rate 300",
            "enforcer bench memory --rows 100000 --output json",
            "enforcer bench soak --minutes 2 --rate 200 --page soak.html",
            "enforcer bench peers quix --rounds 1 --seconds 5",
        ),
    ),
)


def present() -> tuple[Verb, ...]:
    """The verbs whose modules are there, in the order of the table."""
    return tuple(verb for verb in VERBS if verb.exists)
