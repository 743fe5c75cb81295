"""One suite over both tables, and what only files on a disk can do."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enforcer.errors import AgentCorruptedError, ConflictError, UnavailableError
from enforcer.store import MemoryTable, Meta, RocksTable, Table, memory_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

META = Meta(
    cluster_id="c",
    topic_ids={"state": "t1", "calls": "t2"},
    schema="1",
    partitions=4,
    positions={"state": 7, "calls": 9},
    written_ms=1_700_000_000_000,
)
KEYS = st.binary(min_size=1, max_size=4).filter(lambda key: key[0] != 0)
BATCHES = st.lists(st.tuples(st.dictionaries(KEYS, st.binary(max_size=8)), st.lists(KEYS)))


@pytest.fixture(params=["memory", "rocks"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Table]:
    opened: Table = MemoryTable() if request.param == "memory" else RocksTable(tmp_path / "t")
    yield opened
    opened.close()


def test_what_is_written_is_read_and_what_is_deleted_is_not(table: Table) -> None:
    """Puts and deletes of one write are both in force after it; a key in both is deleted."""
    table.write({b"a": b"1", b"b": b"2"})
    table.write({b"a": b"3", b"c": b"4"}, [b"b", b"c", b"never"])

    assert table.get(b"a") == b"3"
    assert table.get(b"b") is None
    assert table.get(b"c") is None


def test_empty_and_zero_bytes_are_values(table: Table) -> None:
    """An empty value is not the same as no row."""
    table.write({b"k": b"", b"k\x00": b"\x00"})

    assert table.get(b"k") == b""
    assert table.get(b"k\x00") == b"\x00"


def test_meta_is_none_at_first_and_is_the_newest_afterwards(table: Table) -> None:
    """The meta record travels with a write, and no scan shows it."""
    assert table.meta() is None

    table.write({b"a": b"1"}, meta=META)
    table.write({b"b": b"1"})

    assert table.meta() == META
    assert [key for key, _ in table.scan()] == [b"a", b"b"]


def test_scan_is_ordered_and_bounded_by_prefix_start_and_limit(table: Table) -> None:
    """Sweeps go on where they stopped, without seeing a row twice."""
    table.write({b"b/%03d" % i: b"%d" % i for i in range(2_500)} | {b"a": b"", b"c": b""})

    assert sum(1 for _ in table.scan(b"b/")) == 2_500
    assert [key for key, _ in table.scan(b"b/", limit=2)] == sorted(
        b"b/%03d" % i for i in range(2_500)
    )[:2]
    first = [key for key, _ in table.scan(b"b/", limit=1_200)]
    rest = [key for key, _ in table.scan(b"b/", start_after=first[-1])]
    assert first + rest == sorted(b"b/%03d" % i for i in range(2_500))
    assert list(table.scan(b"b/", start_after=b"b/zzz")) == []
    assert list(table.scan(b"b/", limit=0)) == []


def test_deleting_while_scanning_is_safe(table: Table) -> None:
    """A sweep may delete each row it is given."""
    table.write({b"%04d" % i: b"x" for i in range(2_100)})

    for key, _ in table.scan():
        table.write({}, [key])

    assert list(table.scan()) == []


def test_a_wiped_table_is_empty_and_usable(table: Table) -> None:
    """Wiping removes rows and meta; the table goes on."""
    table.write({b"a": b"1"}, meta=META)
    table.wipe()

    assert table.meta() is None
    assert list(table.scan()) == []
    table.write({b"a": b"2"})
    assert table.get(b"a") == b"2"


def test_a_closed_table_refuses_everything_but_close(table: Table) -> None:
    """A late write after close is an error, never lost in silence."""
    table.write({b"a": b"1"})
    table.close()
    table.close()

    for act in (
        lambda: table.get(b"a"),
        lambda: table.write({b"a": b"2"}),
        lambda: list(table.scan()),
        table.meta,
    ):
        with pytest.raises(UnavailableError):
            act()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=BATCHES, prefix=st.binary(max_size=1), limit=st.none() | st.integers(0, 5))
def test_both_tables_agree_with_a_dict(
    tmp_path: Path,
    batches: list[tuple[dict[bytes, bytes], list[bytes]]],
    prefix: bytes,
    limit: int | None,
) -> None:
    """Whatever is written, both tables show what a dict would."""
    RocksTable.destroy(tmp_path / "t")
    tables: list[Table] = [MemoryTable(), RocksTable(tmp_path / "t")]
    expected: dict[bytes, bytes] = {}
    for puts, deletes in batches:
        expected.update(puts)
        for key in deletes:
            expected.pop(key, None)
        for table in tables:
            table.write(puts, deletes)

    wanted = sorted(item for item in expected.items() if item[0].startswith(prefix))[:limit]
    for table in tables:
        assert list(table.scan(prefix, limit=limit)) == wanted
        assert all(table.get(key) == value for key, value in expected.items())
        table.close()


def test_rocks_rows_outlive_close(tmp_path: Path) -> None:
    """A table opened again holds rows and meta, and close has really released the lock."""
    table = RocksTable(tmp_path)
    table.write({b"a": b"1"}, meta=META)
    scan = table.scan()
    next(scan)
    table.close()

    again = RocksTable(tmp_path)
    assert again.get(b"a") == b"1"
    assert again.meta() == META
    again.close()


def test_rocks_table_in_use_is_a_conflict(tmp_path: Path) -> None:
    """The same table cannot be opened twice, neither in this process nor in another."""
    table = RocksTable(tmp_path)
    with pytest.raises(ConflictError):
        RocksTable(tmp_path)
    other = run_python(
        "from enforcer.errors import ConflictError\n"
        "try: RocksTable(path)\n"
        "except ConflictError: print('conflict')",
        tmp_path,
    )
    assert other.stdout.strip() == "conflict", other
    table.close()


def test_rocks_damage_is_corruption(tmp_path: Path) -> None:
    """A damaged database asks for a wipe, and can be wiped and used again."""
    table = RocksTable(tmp_path)
    table.write({b"a": b"1"})
    table.close()
    for manifest in tmp_path.glob("MANIFEST*"):
        manifest.write_bytes(b"damaged" * 20)

    with pytest.raises(AgentCorruptedError):
        RocksTable(tmp_path)
    RocksTable.destroy(tmp_path)
    table = RocksTable(tmp_path)
    assert table.get(b"a") is None
    table.close()


def test_damaged_meta_is_corruption(tmp_path: Path) -> None:
    """A meta record that cannot be read is not taken for a new table."""
    for value in (b"{", b"[]", b'{"cluster_id": "c"}', b'{"surprise": 1}'):
        with pytest.raises(AgentCorruptedError):
            Meta.decode(value)


def test_rocks_place_that_cannot_be_made_is_unavailable() -> None:
    """An unusable directory is the operator's to mend."""
    with pytest.raises(UnavailableError):
        RocksTable(Path("/proc/none/table"))


def test_rocks_full_disk_is_unavailable(tmp_path: Path) -> None:
    """A write that the disk refuses says that it is full; a limit on file sizes stands for the disk."""
    assert hasattr(resource, "RLIMIT_FSIZE")
    ended = run_python(
        "import resource, signal\n"
        "from enforcer.errors import UnavailableError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "table = RocksTable(path)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try:\n"
        "    for i in range(2_000): table.write({b'%d' % i: bytes(1000)})\n"
        "except UnavailableError as error: print(error.code)",
        tmp_path,
    )
    assert ended.stdout.strip() == "disk_full", ended


def test_rocks_keeps_every_write_of_a_killed_process(tmp_path: Path) -> None:
    """After SIGKILL the table holds all writes that had returned, and position and rows agree."""
    child = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    last = 0
    while last < 3_000:
        last = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    for line in child.stdout:
        last = int(line) if line.endswith("\n") else last
    child.stdout.close()
    child.wait()

    table = RocksTable(tmp_path)
    meta = table.meta()
    assert meta is not None
    written = meta.positions["state"]
    assert written >= last
    assert [int(value) for _, value in table.scan(b"row")] == [written] * 3
    table.close()


PRELUDE = """
import sys
from pathlib import Path
from enforcer.store import Meta, RocksTable
path = Path(sys.argv[1])
"""
KILLED = """
table = RocksTable(path)
i = 0
while True:
    i += 1
    meta = Meta(cluster_id='c', topic_ids={}, schema='1', partitions=1, positions={'state': i})
    table.write({b'row%d' % k: b'%d' % i for k in range(3)}, meta=meta)
    print(i, flush=True)
"""


def run_python(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_table_without_its_manifest_is_damaged(tmp_path):
    """A directory whose manifest is gone is wiped and restored, not retried until somebody comes."""
    table = RocksTable(tmp_path / "t")
    table.write({b"k": b"v"})
    table.close()
    for file in (tmp_path / "t").glob("MANIFEST-*"):
        file.unlink()

    with pytest.raises(AgentCorruptedError):
        RocksTable(tmp_path / "t").get(b"k")


def test_the_memory_of_open_tables_is_told_and_that_of_closed_ones_is_not(tmp_path: Path) -> None:
    """Rows in memory count as memtables; a table that is closed holds nothing."""
    before = memory_bytes()["memtables"]
    table = RocksTable(tmp_path / "t")
    table.write({b"%06d" % number: bytes(1_000) for number in range(1_000)})

    assert memory_bytes()["memtables"] >= before + 1_000_000
    table.close()
    assert memory_bytes()["memtables"] == before


def test_a_table_that_is_opened_again_has_its_filter_and_the_shared_cache(tmp_path):
    """What is written after a restart is found, or not, as quickly as before it: options are the same."""
    sizes = []
    for number in range(2):
        table = RocksTable(tmp_path / "t")
        table.write({b"%d-%d" % (number, row): b"v" for row in range(1_000)})
        database = table._database
        database.flush()
        properties = database.property_value("rocksdb.aggregated-table-properties")
        sizes.append(int(properties.partition("filter block size=")[2].partition(";")[0]))
        assert database.property_int_value("rocksdb.block-cache-capacity") == 64 << 20
        table.close()
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.1)
    assert sizes[0] > 1_000


def test_a_walk_over_a_table_leaves_the_cache_to_the_rows_that_are_read(tmp_path: Path) -> None:
    """A scan of everything brings nothing into the block cache; a read of one row does."""
    table = RocksTable(tmp_path / "t")
    rows = {b"%06d" % number: os.urandom(1_000) for number in range(8_000)}
    table.write(rows)
    table.close()
    table = RocksTable(tmp_path / "t")
    before = memory_bytes()["block_cache"]

    assert dict(table.scan()) == rows
    assert memory_bytes()["block_cache"] - before < 1_000_000
    for key in rows:
        table.get(key)
    assert memory_bytes()["block_cache"] - before > 2_000_000
    table.close()


def test_indexes_and_filters_of_files_are_in_pieces(tmp_path: Path) -> None:
    """As one block, that of a large file fits no shard of the cache, and each read of a row would decompress all of it."""
    table = RocksTable(tmp_path / "t")
    table.write({b"%08d" % (row * 7_919 % 40_000): os.urandom(200) for row in range(40_000)})
    database = table._database
    database.flush()
    properties = database.property_value("rocksdb.aggregated-table-properties")
    pieces = int(properties.partition("# index partitions=")[2].partition(";")[0])
    table.close()

    assert pieces > 3
