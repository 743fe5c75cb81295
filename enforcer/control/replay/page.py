"""The report as one page of HTML: plots are SVG, styles are in it, nothing is fetched from anywhere."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from enforcer.control.replay.answer import answer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.control.replay.running import Replayed

WIDTH: Final = 760
BARS_MAX: Final = 12
POINTS_MAX: Final = 80
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #dde2ea;font-size:14px}td.n,th.n{text-align:right}
.big{display:flex;gap:2rem;flex-wrap:wrap}.big div{min-width:8rem}.big b{display:block;font-size:1.6rem}
.opens{color:#b3261e}.closes{color:#0b6b3a}svg{width:100%;height:auto}code{font-size:13px}
@media(prefers-color-scheme:dark){body{background:#12161c;color:#e4e8ee}td,th{border-color:#2c3440}}
"""


def page_of(replayed: Replayed, *, title: str) -> str:
    """The whole page."""
    answer = answer_of(replayed)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
        _figures(answer),
        "<h2>Verdicts that change</h2>",
        _bars(list(answer["differs"].items()), opening="deny->"),
        "<h2>Over time</h2>",
        _timeline(replayed.total.timeline),
    ]
    for name, columns in (
        ("rules", ("policy", "rule")),
        ("tenants", ("tenant",)),
        ("models", ("model",)),
    ):
        parts.append(f"<h2>By {name[:-1]}</h2>")
        parts.append(_table(answer[name][:50], (*columns, "from", "to", "count")))
    parts.append("<h2>Examples</h2>")
    shown = ("request_id", "tenant", "model", "change", "policy", "rule", "code", "estimated_usd")
    parts.append(_table(answer["examples"][:100], shown))
    rows = f"Rows: {answer['rows']}. Facts as recorded: {answer['facts']['recorded']} decisions."
    parts.append(f"<p>{escape(rows)}</p></html>")
    return "\n".join(parts)


def _figures(answer: dict[str, Any]) -> str:
    spend = answer["spend"]
    figures = (
        ("decisions", f"{answer['decisions']:,}"),
        ("other verdicts", f"{sum(answer['differs'].values()):,}"),
        ("identical" if not answer["candidate"] else "spend", _second(answer)),
        ("spend recorded", f"{spend['recorded_usd']:,.4f} USD"),
        ("times live speed", f"{answer['times_live']:,.1f}"),
    )
    cells = "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for name, value in figures)
    return f"<div class=big>{cells}</div>"


def _second(answer: dict[str, Any]) -> str:
    if answer["candidate"]:
        return f"{answer['spend']['change_usd']:+,.4f} USD"
    return "yes" if answer["identical"] else "no"


def _bars(counts: Sequence[tuple[str, int]], *, opening: str) -> str:
    if not counts:
        return "<p>None.</p>"
    most = max(count for _, count in counts)
    lines = []
    for at, (name, count) in enumerate(counts[:BARS_MAX]):
        y, width = 26 * at, max(2, round(560 * count / most))
        colour = "#b3261e" if name.startswith(opening) else "#3b6fd4"
        lines.append(
            f"<text x=0 y={y + 17} font-size=13 fill=currentColor>{escape(name)}</text>"
            f"<rect x=130 y={y + 4} width={width} height=18 fill='{colour}'/>"
            f"<text x={136 + width} y={y + 17} font-size=13 fill=currentColor>{count:,}</text>"
        )
    height = 26 * min(len(counts), BARS_MAX)
    return f"<svg viewBox='0 0 {WIDTH} {height}' role=img>{''.join(lines)}</svg>"


def _timeline(timeline: dict[int, list[int]]) -> str:
    """Estimated spend recorded and replayed, cumulative, over the calls with another verdict."""
    points = _points(timeline)
    if len(points) < 2:
        return "<p>Too short for a plot.</p>"
    top = max(max(p[2], p[3]) for p in points) or 1
    most = max(p[1] for p in points) or 1
    step = (WIDTH - 20) / (len(points) - 1)
    bars = "".join(
        f"<rect x={10 + at * step:.1f} y={170 - 60 * p[1] / most:.1f} width={max(1, step * 0.7):.1f} "
        f"height={60 * p[1] / most:.1f} fill='#b3261e' opacity=.35/>"
        for at, p in enumerate(points)
    )
    lines = "".join(
        f"<polyline fill=none stroke='{colour}' stroke-width=2 points='"
        + " ".join(
            f"{10 + at * step:.1f},{165 - 150 * p[column] / top:.1f}" for at, p in enumerate(points)
        )
        + "'/>"
        for column, colour in ((2, "#6b7686"), (3, "#3b6fd4"))
    )
    legend = (
        "<text x=10 y=190 font-size=12 fill=currentColor>estimated spend, cumulative: grey recorded, "
        f"blue replayed (up to {top / 1e9:,.4f} USD); red: calls with another verdict (up to {most:,})</text>"
    )
    return f"<svg viewBox='0 0 {WIDTH} 200' role=img>{bars}{lines}{legend}</svg>"


def _points(timeline: dict[int, list[int]]) -> list[list[int]]:
    """At most ``POINTS_MAX`` equal stretches of time; amounts add up from the first."""
    if not timeline:
        return []
    first, last = min(timeline), max(timeline)
    width = max(1, -(-(last - first + 1) // POINTS_MAX))
    points = [[0, 0, 0, 0] for _ in range((last - first) // width + 1)]
    for second, bucket in timeline.items():
        point = points[(second - first) // width]
        for at, value in enumerate(bucket):
            point[at] += value
    for before, after in pairwise(points):
        after[2] += before[2]
        after[3] += before[3]
    return points


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    if not rows:
        return "<p>None.</p>"
    numbers = {"count", "estimated_usd"}
    head = "".join(
        f"<th{' class=n' if c in numbers else ''}>{c.replace('_', ' ')}</th>" for c in columns
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' if c in numbers else ''}>{escape(str(row[c]))}</td>" for c in columns
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
