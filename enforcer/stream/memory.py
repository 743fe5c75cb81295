"""
What a worker does about memory: it keeps what was freed, and collects cycles rarely.

Keeping: a worker allocates and frees megabytes of record batches all the time.

By default glibc gives the top of its heap back to the kernel whenever 128 KiB of it are free, and maps every larger
block anew; the next batch then faults it in again, page by page, cleared. Measured under load: 4,000 faults a
second, and two thirds of the worker's time in the kernel, a tenth of its time in all.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of <malloc.h>.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 256 << 20
"""Free memory at the top of the heap that is not given back."""
BLOCK_BYTES: Final = 32 << 20
"""Blocks up to this size come from the heap."""
GC_THRESHOLDS: Final = (10_000, 100, 10_000)


def keep_freed_memory() -> bool:
    """Tell the allocator. Returns False where it is another than glibc's: then nothing is changed."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = (
        (_M_MMAP_THRESHOLD, BLOCK_BYTES),
        (_M_TRIM_THRESHOLD, KEPT_BYTES),
        (_M_TOP_PAD, 16 << 20),
    )
    return all(mallopt(name, value) == 1 for name, value in settings)


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """
    What lives now lives for long; collecting it again and again costs verdicts their milliseconds.

    Events make no cycles, so that young collections are rare and those of the whole heap, which stop every
    verdict for its length, as good as never.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
