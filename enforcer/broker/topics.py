"""
What topics there shall be, how that differs from what the broker has, and making the two agree.

The number of partitions of a topic that exists is never changed: rows, dedup and budgets live by it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from enforcer.broker.ports import NewTopicSpec
from enforcer.config import data
from enforcer.errors import ConfigError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from enforcer.broker.ports import Broker, TopicInfo

INPUTS = "inputs"
"""``partitions: inputs`` in a file: as many as all topics of the data plane have."""

DEFAULT_PARTITIONS = 12
_REPLICATION_WANTED = 3
_FIELDS = frozenset(
    {"name", "description", "key", "values", "partitions", "writers", "readers", "config"}
)
_LISTS = frozenset({"cleanup.policy"})

Kind = Literal["missing", "setting", "partitions"]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One file of ``topics/``. *partitions* None: the common number."""

    name: str
    partitions: int | None
    config: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    writers: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    """Whose topic it is, in the words of ``acls.PARTIES``."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as specified. ``fixable``: ``apply`` mends it."""

    topic: str
    kind: Kind
    setting: str
    wanted: str
    actual: str | None

    @property
    def fixable(self) -> bool:
        """Can ``apply`` mend it?"""
        return self.kind != "partitions"

    def __str__(self) -> str:
        """For people."""
        if self.kind == "missing":
            return f"{self.topic} does not exist"
        return f"{self.topic}: {self.setting} is {self.actual or 'not set'}, not {self.wanted}"


def load_specs(directory: Path | None = None) -> tuple[TopicSpec, ...]:
    """
    The specifications in *directory* (the packaged ones), sorted by name.

    Raises: ConfigError, naming the file.
    """
    place = data("topics") if directory is None else directory
    specs = tuple(_load(file) for file in sorted(place.glob("*.yaml")))
    if not specs:
        raise ConfigError(f"no topics in {place}")
    return specs


def _load(file: Path) -> TopicSpec:
    try:
        loaded: Any = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        raise ConfigError(f"{file}{line}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file}: expected a mapping")
    for name in loaded:
        if name not in _FIELDS:
            near = difflib.get_close_matches(str(name), _FIELDS, n=1)
            raise ConfigError(
                f"{file}: unknown field `{name}`", help=f"did you mean `{near[0]}`?" if near else ""
            )
    partitions = loaded.get("partitions")
    if partitions != INPUTS and (type(partitions) is not int or partitions < 1):
        raise ConfigError(f"{file}: partitions is `{INPUTS}` or a number above 0")
    if not isinstance(loaded.get("name"), str) or not isinstance(loaded.get("config"), dict):
        raise ConfigError(f"{file}: `name` and `config` are required")
    return TopicSpec(
        name=loaded["name"],
        partitions=None if partitions == INPUTS else partitions,
        config={str(name): _text(value) for name, value in loaded["config"].items()},
        description=str(loaded.get("description", "")),
        writers=tuple(map(str, loaded.get("writers", ()))),
        readers=tuple(map(str, loaded.get("readers", ()))),
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def common_partitions(
    specs: Sequence[TopicSpec],
    actual: Mapping[str, TopicInfo],
    *,
    prefix: str,
    asked: int | None,
) -> int:
    """The common number of partitions: *asked*, else that of the topics that exist, else 12."""
    if asked is not None:
        return asked
    found = [
        actual[f"{prefix}.{spec.name}"].partitions
        for spec in specs
        if spec.partitions is None and f"{prefix}.{spec.name}" in actual
    ]
    # Most of them agree if one was made by hand: that one is then the difference.
    return max(set(found), key=found.count) if found else DEFAULT_PARTITIONS


def plan(
    specs: Sequence[TopicSpec],
    actual: Mapping[str, TopicInfo],
    *,
    prefix: str,
    partitions: int,
) -> list[Difference]:
    """
    What differs, in the order of *specs*.

    Settings that no file names are the operator's, and no difference; so is the replication factor of a
    topic that exists. With three brokers or more, writes must reach two (``min.insync.replicas``).
    """
    found: list[Difference] = []
    for spec in specs:
        name = f"{prefix}.{spec.name}"
        wanted = spec.partitions or partitions
        info = actual.get(name)
        if info is None:
            found.append(Difference(name, "missing", "", str(wanted), None))
            continue
        if info.partitions != wanted:
            found.append(
                Difference(name, "partitions", "partitions", str(wanted), str(info.partitions))
            )
        for setting, value in settings_of(spec, info.replication_factor).items():
            has = info.config.get(setting)
            if not _same(setting, value, has):
                found.append(Difference(name, "setting", setting, value, has))
    return found


def settings_of(spec: TopicSpec, replication_factor: int) -> dict[str, str]:
    """The settings of *spec*'s topic at that replication factor."""
    if replication_factor < _REPLICATION_WANTED:
        return dict(spec.config)
    return {"min.insync.replicas": "2", **spec.config}


def _same(setting: str, wanted: str, has: str | None) -> bool:
    if has is None or setting not in _LISTS:
        return wanted == has
    return set(wanted.split(",")) == set(has.split(","))


async def differences(
    broker: Broker, specs: Sequence[TopicSpec], *, prefix: str, partitions: int | None
) -> list[Difference]:
    """``plan`` against the broker as it is now; *partitions* None: as ``common_partitions`` says."""
    actual = await broker.describe_topics([f"{prefix}.{spec.name}" for spec in specs])
    number = common_partitions(specs, actual, prefix=prefix, asked=partitions)
    return plan(specs, actual, prefix=prefix, partitions=number)


async def apply(
    broker: Broker, specs: Sequence[TopicSpec], *, prefix: str, partitions: int | None = None
) -> list[Difference]:
    """
    Make the broker agree with *specs*, and return what was done; a second call does nothing.

    Raises: ConflictError before anything is changed, if a topic has another number of partitions.
    """
    found = await differences(broker, specs, prefix=prefix, partitions=partitions)
    fixed = [difference for difference in found if not difference.fixable]
    if fixed:
        raise ConflictError(
            "; ".join(map(str, fixed)),
            code="partitions_differ",
            help="The number is fixed by the rows that exist: see `enforcer topics repartition`.",
        )
    replication = min(_REPLICATION_WANTED, await broker.broker_count())
    by_name = {f"{prefix}.{spec.name}": spec for spec in specs}
    await broker.create_topics(
        [
            NewTopicSpec(
                name=difference.topic,
                partitions=int(difference.wanted),
                replication_factor=replication,
                config=settings_of(by_name[difference.topic], replication),
            )
            for difference in found
            if difference.kind == "missing"
        ]
    )
    changes: dict[str, dict[str, str | None]] = {}
    for difference in found:
        if difference.kind == "setting":
            changes.setdefault(difference.topic, {})[difference.setting] = difference.wanted
    await broker.alter_topic_configs(changes)
    return found
