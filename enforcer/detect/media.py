"""
Tokens of images, audio and files, by the rules that providers publish.

Media never travel in a request, only their sizes, so the rules are applied to those; what a part
leaves out is taken as the largest the rule allows or, for a whole file, as a page of text per
2 KiB. A gateway says OpenAI's `detail: low` as a parameter of the MIME type: `image/png;detail=low`. Every count of media is an estimate, since providers resize before they count.

Sources: OpenAI, "Images and vision" (cost of image inputs) and "Audio"; Anthropic, "Vision"
(tokens = width x height / 750); Google, "Understand and count tokens" (258 a tile, 32 a second).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enforcer.events import Part

ERROR_BOUND = 0.3
_PIXELS_ASSUMED = 1024
_LOW_PIXELS = 512
_LOW = re.compile(r";\s*detail=low\b")
_FILE_BYTES_PER_TOKEN = 4
_SECONDS_ASSUMED = 60.0


@dataclass(frozen=True, slots=True)
class _Tiles:
    """OpenAI's tiled models: fit in 2,048 squared, shortest side to 768, tiles of 512."""

    base: int
    tile: int

    def tokens(self, width: int, height: int, *, is_low: bool = False) -> int:
        if is_low:
            return self.base
        fit = min(1.0, 2048 / max(width, height))
        shrink = min(1.0, 768 / (min(width, height) * fit)) * fit
        tiles = ceil(width * shrink / 512) * ceil(height * shrink / 512)
        return self.base + self.tile * tiles


@dataclass(frozen=True, slots=True)
class _Patches:
    """OpenAI's patched models: patches of 32 pixels, at most 1,536, times a factor."""

    factor: float

    def tokens(self, width: int, height: int, *, is_low: bool = False) -> int:
        if is_low:
            width, height = min(width, _LOW_PIXELS), min(height, _LOW_PIXELS)
        patches = min(1536, ceil(width / 32) * ceil(height / 32))
        return ceil(patches * self.factor)


@dataclass(frozen=True, slots=True)
class _Area:
    """Anthropic: the area over 750, the long side at most 1,568 pixels; it knows no detail."""

    def tokens(self, width: int, height: int, *, is_low: bool = False) -> int:  # noqa: ARG002 — as every rule is asked
        fit = min(1.0, 1568 / max(width, height))
        return min(1600, ceil(width * fit * height * fit / 750))


@dataclass(frozen=True, slots=True)
class _Crops:
    """Google: 258 for a small image, else 258 for each crop of 768 pixels; it knows no detail."""

    def tokens(self, width: int, height: int, *, is_low: bool = False) -> int:  # noqa: ARG002 — as every rule is asked
        if width <= 384 and height <= 384:
            return 258
        return 258 * ceil(width / 768) * ceil(height / 768)


# The first prefix of the bare model name wins.
_IMAGE_RULES: tuple[tuple[str, _Tiles | _Patches | _Area | _Crops], ...] = (
    ("gpt-4o-mini", _Tiles(2833, 5667)),
    ("gpt-4.1-mini", _Patches(1.62)),
    ("gpt-4.1-nano", _Patches(2.46)),
    ("gpt-5-mini", _Patches(1.62)),
    ("gpt-5-nano", _Patches(2.46)),
    ("o4-mini", _Patches(1.72)),
    ("gpt-5", _Tiles(70, 140)),
    ("o1", _Tiles(75, 150)),
    ("o3", _Tiles(75, 150)),
    ("claude", _Area()),
    ("gemini", _Crops()),
    ("gemma", _Crops()),
)
_OTHER_IMAGES = _Tiles(85, 170)
_AUDIO_TOKENS_PER_SECOND = {"gemini": 32}
_OTHER_AUDIO_TOKENS_PER_SECOND = 10


def media_tokens(part: Part, model: str) -> int:
    """The tokens of one part that is no text, by the rules of the model's provider."""
    bare = model.lower().rpartition("/")[2].rpartition("anthropic.")[2]
    if part.type == "image":
        width, height = part.width or _PIXELS_ASSUMED, part.height or _PIXELS_ASSUMED
        is_low = part.mime is not None and _LOW.search(part.mime) is not None
        fitting = (rule for prefix, rule in _IMAGE_RULES if bare.startswith(prefix))
        rule = next(fitting, _OTHER_IMAGES)
        return rule.tokens(max(width, 1), max(height, 1), is_low=is_low)
    if part.type == "audio":
        rate = _OTHER_AUDIO_TOKENS_PER_SECOND
        for prefix, found in _AUDIO_TOKENS_PER_SECOND.items():
            rate = found if bare.startswith(prefix) else rate
        seconds = _SECONDS_ASSUMED if part.seconds is None else max(part.seconds, 0.0)
        return ceil(rate * seconds)
    return max(part.bytes or 0, 0) // _FILE_BYTES_PER_TOKEN
