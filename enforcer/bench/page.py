"""A soak on one page of HTML: a plot a series, drawn as SVG; nothing is fetched from anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH: Final = 720
HEIGHT: Final = 120
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.5rem}h2{font-size:1rem;margin:1.5rem 0 0}p{margin:.2rem 0}svg{width:100%;height:auto}.grows{color:#b3261e}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#e4e8ee}}
"""


def page_of(answer: Mapping[str, Any]) -> str:
    """The whole page, of an answer of ``bench soak``."""
    settings = answer["machine"]
    title = (
        f"Soak: {settings['minutes']:g} minutes at {settings['calls_per_s']:,.0f} calls a second"
    )
    samples = answer["samples"]
    faults = "".join(
        f"<p class=grows>{escape(name.replace('_', ' '))}: {count:,}</p>"
        for name, count in answer["faults"].items()
    )
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
        f"<p>{escape(answer['verdict'])}. {answer['calls']['decided']:,} calls decided.</p>{faults}",
    ]
    for name, found in answer["series"].items():
        parts.append(_series(name, found, samples["at_s"], samples.get(name, [])))
    parts.append("</html>")
    return "\n".join(parts)


def _series(
    name: str, found: Mapping[str, Any], at_s: Sequence[float], values: Sequence[float | None]
) -> str:
    if "median" not in found:
        return f"<h2>{escape(name.replace('_', ' '))}</h2><p>{escape(found['why'])}</p>"
    grows = " class=grows" if found["grows"] else ""
    judged = f"; not judged: {found['why']}" if found["grows"] is None else ""
    text = (
        f"median of the second half {found['median']:,.4g}, growth in it {found['growth']:+,.4g}, "
        f"allowed {found['allowed']:,.4g}{judged}"
    )
    plot = plotted(at_s, values)
    return f"<h2{grows}>{escape(name.replace('_', ' '))}</h2><p{grows}>{escape(text)}</p>{plot}"


def plotted(at_s: Sequence[float], values: Sequence[float | None]) -> str:
    """A line over time, from 0 to the largest value; the half that is judged is shaded."""
    points = [(at, value) for at, value in zip(at_s, values, strict=True) if value is not None]
    if len(points) < 2:
        return "<p>Too short for a plot.</p>"
    last, top = max(at_s[-1], 1e-9), max(value for _, value in points) or 1
    line = " ".join(
        f"{WIDTH * at / last:.1f},{HEIGHT - 100 * value / top:.1f}" for at, value in points
    )
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT + 18}' role=img>"
        f"<rect x={WIDTH / 2:.0f} y=0 width={WIDTH / 2:.0f} height={HEIGHT} fill=currentColor opacity=.06/>"
        f"<polyline fill=none stroke='#3b6fd4' stroke-width=1.5 points='{line}'/>"
        f"<text x=0 y=12 font-size=11 fill=currentColor>{top:,.4g}</text>"
        f"<text x=0 y={HEIGHT + 14} font-size=11 fill=currentColor>0 s</text>"
        f"<text x={WIDTH} y={HEIGHT + 14} font-size=11 text-anchor=end fill=currentColor>{last:,.0f} s</text></svg>"
    )
