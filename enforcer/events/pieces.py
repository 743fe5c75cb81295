"""
Records written from pieces: what stays the same of many records is encoded once, the rest is put between.

Where the pieces are cut is found, not stated: a sample with conspicuous values in the holes goes through the record's
own encoder, and its bytes are cut around those values. So order, tags and defaults are the encoder's, and a schema that
changes moves the cuts with it, or is refused here.
"""

from __future__ import annotations


def cut(data: bytes, *holes: bytes) -> tuple[bytes, ...]:
    """
    Cut *data* around *holes*.

    Args:
        data: Of a sample, by its encoder.
        holes: The encodings of the values to be replaced, in the order in which they stand, each found once.

    Returns: One piece more than there are holes; neighbours have an empty piece between them.
    Raises: ValueError, if a record cannot be cut so: a bug, found where pieces are made and not where they are used.
    """
    pieces: list[bytes] = []
    for number, hole in enumerate(holes):
        if data.count(hole) != 1:
            raise ValueError(f"hole {number} stands {data.count(hole)} times in the sample")
        piece, data = data.split(hole)
        pieces.append(piece)
    return (*pieces, data)
