"""
The flame graph of folded stacks, as a still picture.

The field's picture: a box is a function, its width the share of samples in which it was on the stack, and what it calls
stands on it. Coloured by package, without scripts, small enough for a page of documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WIDTH: Final = 1_200
_ROW: Final = 17
_FONT: Final = 'font-family="ui-monospace,Menlo,Consolas,monospace" font-size="11"'
_CHARACTER: Final = 6.6
_LEAST: Final = 1.2
"""Pixels; narrower boxes, and what stands on them, are left out."""
_FRAME: Final = re.compile(r"(?P<name>.+?) \((?P<file>[^()]+?)(?::\d+)?\)$")
_BELOW: Final = ("runpy", "uvloop/", "asyncio/runners.py", "_bootstrap", "threading.py")
"""What every stack begins with."""
_COLOURS: Final = {
    "engine": "#e4572e",
    "policy": "#f18f5b",
    "detect": "#f0c808",
    "events": "#7fb685",
    "state": "#4f9d69",
    "audit": "#2e7d8c",
    "stream": "#5b8def",
    "store": "#3c6997",
    "broker": "#9b7ede",
    "aiokafka": "#c3a6ff",
}
_OTHER: Final = "#c9c9c9"


@dataclass(slots=True)
class Box:
    """A function on one stack: samples in it and above, and what stands on it."""

    samples: int = 0
    on_it: dict[str, Box] = field(default_factory=dict)


def folded(raw: str) -> dict[tuple[str, ...], int]:
    """
    Samples by stack, outermost function first, from py-spy's lines ``frame;frame count``.

    A frame becomes ``package/module.function``, with nothing of where it is installed; what every stack begins with
    is left out.
    """
    found: dict[tuple[str, ...], int] = {}
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = tuple(_short(frame) for frame in stack.split(";"))
        while frames and frames[0] is None:
            frames = frames[1:]
        named = tuple(frame for frame in frames if frame)
        if named and count.isdecimal():
            found[named] = found.get(named, 0) + int(count)
    return found


def _short(frame: str) -> str | None:
    match = _FRAME.match(frame)
    if match is None:
        return None if frame.startswith(("process ", "thread ")) else frame
    name, file = match["name"], match["file"].replace("\\", "/")
    if any(part in file for part in _BELOW) or name == "<module>":
        return None
    # What the engine makes of a tenant's program, and the compiler of a condition.
    if file == "<ordinary>":
        file = "enforcer/engine/<ordinary>"
    elif file.startswith("<compiled"):
        file = f"enforcer/policy/{file}"
    # Two parts of the path, so that no place of an installation is in it.
    parts = file.removesuffix(".py").removesuffix("/__init__").split("/")
    if "enforcer" in parts:
        parts = parts[len(parts) - parts[::-1].index("enforcer") :]
    elif "aiokafka" in parts:
        parts = parts[parts.index("aiokafka") :]
    else:
        parts = parts[-2:]
    return f"{'/'.join(parts)}.{name}"


def as_lines(stacks: dict[tuple[str, ...], int]) -> str:
    """One stack a line and its samples: the folded form that other tools read."""
    return "".join(f"{';'.join(stack)} {count}\n" for stack, count in sorted(stacks.items()))


def _grown(stacks: dict[tuple[str, ...], int]) -> Box:
    root = Box()
    for stack, count in stacks.items():
        root.samples += count
        at = root
        for frame in stack:
            at = at.on_it.setdefault(frame, Box())
            at.samples += count
    return root


def svg(stacks: dict[tuple[str, ...], int], title: str) -> str:
    """The picture: the outermost function at the bottom, a tooltip with its share on each box."""
    root = _grown(stacks)
    boxes = list(_placed(root, root.samples, 0.0, 0))
    depth = 1 + max((row for _, _, row, _, _ in boxes), default=0)
    height = (depth + 4) * _ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
        "<style>rect{stroke:#fff;stroke-width:.5}text{pointer-events:none}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="{_ROW}" font-size="13">{escape(title)}: {root.samples:,} samples</text>',
    ]
    for name, x, row, width, samples in boxes:
        y = height - (row + 2) * _ROW
        share = 100 * samples / root.samples
        shown = _label(name, width)
        text = f'<text x="{x + 3:.0f}" y="{y + 12}">{escape(shown)}</text>' if shown else ""
        lines.append(
            f'<g><title>{escape(name)}: {share:.1f} %</title><rect x="{x:.1f}" y="{y}" '
            f'width="{width:.1f}" height="{_ROW - 1}" fill="{_colour(name)}"/>{text}</g>'
        )
    lines += _legend(shares(stacks), height - 4)
    return "\n".join([*lines, "</svg>", ""])


def _placed(
    box: Box, whole: int, x: float, row: int
) -> Iterator[tuple[str, float, int, float, int]]:
    """Name, left edge, row, width and samples of what stands on *box*, widest first."""
    by_samples: Iterable[tuple[str, Box]] = sorted(
        box.on_it.items(), key=lambda item: (-item[1].samples, item[0])
    )
    for name, above in by_samples:
        width = above.samples / whole * _WIDTH
        if width >= _LEAST:
            yield name, x, row, width, above.samples
            yield from _placed(above, whole, x, row + 1)
        x += width


def _label(name: str, width: float) -> str:
    fits = int((width - 6) / _CHARACTER)
    short = name.rpartition("/")[2]
    function = short.rpartition(".")[2]
    for text in (name, short, short.partition(".")[2], function):
        if text and len(text) <= fits:
            return text
    return f"{function[: fits - 1]}…" if fits >= 4 else ""


def _package(name: str) -> str:
    return name.partition("/")[0].partition(".")[0]


def _colour(name: str) -> str:
    return _COLOURS.get(_package(name), _OTHER)


def _legend(shares_of: dict[str, float], y: int) -> Iterator[str]:
    x = 8
    for name, share in shares_of.items():
        text = f"{name} {100 * share:.0f} %"
        colour = _COLOURS.get(name, _OTHER)
        yield f'<rect x="{x}" y="{y - 10}" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{x + 14}" y="{y}">{text}</text>'
        x += 30 + round(len(text) * _CHARACTER)


def shares(stacks: dict[tuple[str, ...], int]) -> dict[str, float]:
    """
    Shares of all samples by package: of the innermost function of one that has a colour, else ``other``.

    What a package calls of others (the standard library, native code) is its own time.
    """
    found = dict.fromkeys([*_COLOURS, "other"], 0)
    for stack, count in stacks.items():
        packages = (_package(frame) for frame in reversed(stack))
        found[next((name for name in packages if name in _COLOURS), "other")] += count
    whole = sum(found.values())
    return {name: count / whole for name, count in found.items()}
