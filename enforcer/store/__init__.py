"""Tables in memory and in RocksDB. The only importer of rocksdict."""

from enforcer.store.memory import MemoryTable
from enforcer.store.rocks import RocksTable, memory_bytes
from enforcer.store.table import Meta, Table

__all__ = ["MemoryTable", "Meta", "RocksTable", "Table", "memory_bytes"]
