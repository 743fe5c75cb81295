"""A model of four nodes, written as its protocol buffer: no package that makes models is needed."""

import struct


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(op, inputs, output, *attributes):
    parts = [field(1, each) for each in inputs] + [field(2, output), field(4, op)]
    return field(1, b"".join(parts + [field(5, each) for each in attributes]))


def tensor_type(name, element, *dimensions):
    shape = b"".join(
        [field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in dimensions]
    )
    return field(1, name) + field(2, field(1, field(1, element) + field(2, shape)))


def tiny_model(name="input_ids"):
    """Logits (1, 1): the largest token id less 100."""
    bias = field(1, 1) + field(2, 1) + field(4, struct.pack("<f", -100.0)) + field(8, "bias")
    graph = (
        node("Cast", [name], "floats", field(1, "to") + field(3, 1) + field(20, 2))
        + node("ReduceMax", ["floats"], "largest", field(1, "axes") + field(8, 1) + field(20, 7))
        + node("Add", ["largest", "bias"], "logits")
        + field(2, "tiny")
        + field(5, bias)
        + field(11, tensor_type(name, 7, 1, "n"))
        + field(12, tensor_type("logits", 1, 1, 1))
    )
    return field(1, 8) + field(8, field(1, "") + field(2, 13)) + field(7, graph)
