"""What a running demo looks like: a page on a terminal, a line every other second elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from enforcer.cli.demo_figures import VERDICTS

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from enforcer.cli.demo_figures import BudgetId, Figures, LiveBudget, LiveReason

STYLES: Final = {"allow": "green", "warn": "yellow", "modify": "cyan", "deny": "red"}
_FIXED_LINES: Final = 15
"""Of the page, all but the rows of budgets and reasons."""
_WIDTH_MAX: Final = 110
_LABEL: Final = 29
_KEY: Final = 11


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What bars are drawn with."""

    full: str
    half: str
    empty: str
    sparks: str
    dot: str


UNICODE: Final = Glyphs("█", "▒", "░", "▁▂▃▄▅▆▇█", "·")
ASCII: Final = Glyphs("#", "+", ".", "_.-=+*%#", "-")


def glyphs_for(encoding: str) -> Glyphs:
    """What a stream of *encoding* can show."""
    return UNICODE if encoding.lower().startswith("utf") else ASCII


@dataclass(slots=True)
class Ledger:
    """The ledger's side of the page, as last seen."""

    commit_ms: float | None = None
    lag_records: float = 0.0
    lag_s: float = 0.0


@dataclass(slots=True)
class Page:
    """The live view; drawn anew from its parts at each refresh, as large as the terminal then is."""

    figures: Figures
    ledger: Ledger
    title: str
    seconds: float | None
    state: str = ""

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        width = min(options.max_width, _WIDTH_MAX)
        height = options.height or options.size.height
        glyphs = ASCII if options.ascii_only else UNICODE
        rows = max(2, height - _FIXED_LINES)
        reasons = max(1, min(8, rows // 2))
        yield Group(
            self._head(width),
            Text(""),
            *self._rates(width, glyphs),
            Text(""),
            *self._verdicts(width, glyphs),
            Text(""),
            _budgets(self.figures.busiest_budgets(rows - reasons), width, glyphs),
            Text(""),
            _reasons(list(self.figures.reasons)[-reasons:], reasons),
            Text(""),
            self._foot(),
        )

    def _head(self, width: int) -> Text:
        elapsed = clock(self.figures.seconds)
        of = "  Ctrl-C ends it" if self.seconds is None else f" of {clock(self.seconds)}"
        right = self.state or f"{elapsed}{of}"
        left = Text.assemble((" enforcer demo ", "bold reverse"), f"  {self.title}")
        left.truncate(max(16, width - len(right) - 1), overflow="ellipsis")
        left.pad_right(max(1, width - left.cell_len - len(right)))
        return left.append(right, "bold")

    def _rates(self, width: int, glyphs: Glyphs) -> tuple[Text, Text]:
        figures = self.figures
        p50, p99 = figures.recent_ms()
        rate = Text.assemble(
            _label("requests/s"),
            (f"{figures.requests_per_s:>7,.0f}", "bold"),
            "  ",
            no_wrap=True,
            overflow="crop",
        )
        rate.append(f"{figures.calls:,} sent   ", "dim")
        rate.append(sparkline(figures.per_second(max(8, width - 46)), glyphs), "blue")
        bypass = figures.bypass_rate
        latency = Text.assemble(
            _label("latency"),
            "    p50 ",
            (milliseconds(p50), "bold"),
            "   p99 ",
            (milliseconds(p99), "bold"),
            "   bypass rate ",
            (f"{bypass:.1%}", "bold red" if bypass else "bold"),
            no_wrap=True,
            overflow="ellipsis",
        )
        return rate, latency

    def _verdicts(self, width: int, glyphs: Glyphs) -> list[Text]:
        counts = self.figures.verdicts
        total = counts.total()
        lines = []
        for verdict in VERDICTS:
            share = counts[verdict] / total if total else 0.0
            line = Text.assemble((f" {verdict:<11}", STYLES[verdict]))
            line.append(bar(share, 0.0, max(10, width - 32), glyphs), STYLES[verdict])
            lines.append(line.append(f" {counts[verdict]:>9,} {share:>7.1%}"))
        return lines

    def _foot(self) -> Text:
        ledger = self.ledger
        commit = milliseconds(ledger.commit_ms)
        lag = f"lag {ledger.lag_records:,.0f} records, {ledger.lag_s:.1f} s"
        return Text.assemble(
            _label("ledger"),
            f" {self.figures.audit_records:,} audit records   commit {commit}   {lag}",
            no_wrap=True,
            overflow="ellipsis",
        )


def line(figures: Figures, ledger: Ledger) -> str:
    """The same for a log: one line."""
    p50, p99 = figures.recent_ms()
    counts = figures.verdicts
    total = counts.total() or 1
    shares = " ".join(f"{verdict} {counts[verdict] / total:.0%}" for verdict in VERDICTS)
    return (
        f"{clock(figures.seconds)}  {figures.requests_per_s:,.0f}/s  {figures.calls:,} sent  "
        f"{shares}  p50 {milliseconds(p50)} p99 {milliseconds(p99)}  "
        f"bypass {figures.bypass_rate:.1%}  audit {figures.audit_records:,}  "
        f"commit {milliseconds(ledger.commit_ms)}"
    )


def _budgets(
    budgets: list[tuple[BudgetId, LiveBudget]], width: int, glyphs: Glyphs
) -> RenderableType:
    grid = Table.grid(padding=(0, 1), pad_edge=False)
    label = min(_LABEL, max(12, width - 39))
    grid.add_column(width=label, no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True)
    for _ in range(3):
        grid.add_column(justify="right", min_width=8, no_wrap=True)
    bar_width = max(8, width - label - 3 * 9 - 3)
    grid.add_row(
        Text(" spend by account", "dim"),
        Text(f"{glyphs.full} spent {glyphs.half} reserved"[:bar_width], "dim"),
        *(Text(head, "dim") for head in ("spent", "reserved", "limit")),
    )
    for name, budget in budgets:
        view = budget.view
        spent = view.spent_usd_nano / view.limit_usd_nano if view.limit_usd_nano else 0.0
        grid.add_row(
            f" {budget_label(name.id, name.account, name.key)}",
            Text(
                bar(spent, budget.share - spent, bar_width, glyphs),
                "red" if budget.share > 0.95 else "magenta",
            ),
            usd(view.spent_usd_nano),
            usd(view.reserved_usd_nano),
            usd(view.limit_usd_nano),
        )
    return grid


def _reasons(reasons: list[LiveReason], count: int) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    for width in (12, 28, 20, 16):
        grid.add_column(width=width, no_wrap=True, overflow="ellipsis")
    grid.add_row(*(Text(head, "dim") for head in (" newest", "why", "policy", "tenant")))
    for reason in reversed(reasons):
        times = f" x{reason.times}" if reason.times > 1 else ""
        grid.add_row(
            Text(f" {reason.verdict}{times}", STYLES.get(reason.verdict, "red")),
            reason.code,
            reason.policy,
            reason.tenant,
        )
    for _ in range(count - len(reasons)):
        grid.add_row("", "", "", "")
    return grid


def budget_label(budget_id: str, account: str, key: str) -> str:
    """A budget in few letters: whose it is before what it is."""
    if len(key) > _KEY:
        key = f"{key[:5]}~{key[5 - _KEY + 1 :]}"
    whose = f"{account.split('/', 1)[0]}/{key}" if key else account
    return f"{whose} {budget_id}"


def bar(first: float, second: float, width: int, glyphs: Glyphs) -> str:
    """*width* characters: *first* and *second* are shares of it; what is not 0 shows."""
    first_cells = min(width, max(round(first * width), 1 if first > 0 else 0))
    second_cells = max(round((first + second) * width) - first_cells, 1 if second > 0 else 0)
    second_cells = max(0, min(width - first_cells, second_cells))
    empty = width - first_cells - second_cells
    return glyphs.full * first_cells + glyphs.half * second_cells + glyphs.empty * empty


def sparkline(counts: list[int], glyphs: Glyphs) -> str:
    """One character a count."""
    top = max(counts, default=0) or 1
    last = len(glyphs.sparks) - 1
    return "".join(glyphs.sparks[round(count / top * last)] for count in counts)


def milliseconds(value: float | None) -> str:
    """``4.2 ms``."""
    if value is None:
        return "-"
    return f"{value:,.1f} ms" if value < 100 else f"{value:,.0f} ms"


def usd(nano: int) -> str:
    """Dollars in at most eight characters."""
    value = nano / 1e9
    return f"${value:,.4f}" if 0 < value < 1 else f"${value:,.2f}"


def clock(seconds: float) -> str:
    """``1:07``, ``2:00:09``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _label(text: str) -> tuple[str, str]:
    return f" {text:<11}", "dim"
