"""What a running demo looks like, on terminals of any size."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from enforcer import events
from enforcer.cli.demo_figures import BudgetId, Figures, LiveBudget, LiveReason
from enforcer.cli.demo_view import (
    ASCII,
    UNICODE,
    Ledger,
    Page,
    bar,
    budget_label,
    clock,
    glyphs_for,
    line,
    usd,
)


@pytest.fixture
def figures():
    """Some of everything, with names that are too long for any column."""
    made = Figures(lambda: 7.0)
    made.calls = 1234
    made.audit_records = 2345
    made.verdicts.update(allow=700, warn=30, modify=100, deny=170)
    for number in range(20):
        view = events.BudgetView("p" * 40, "team-day", "k" * 40, 10**9, number * 10**8, 10**8)
        made.budgets[BudgetId("globex", view.policy, view.id, f"{number}{view.key}")] = LiveBudget(
            view, number
        )
        made.reasons.append(LiveReason("deny", "c" * 60, "p" * 40, "t" * 40, 1234))
    return made


def drawn(figures, width, height, *, encoding="utf-8"):
    # As stderr is: what an encoding lacks is escaped.
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    console.print(Page(figures, Ledger(12.0, 3, 0.2), "demo-x on 127.0.0.1:1", None))
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (60, 18), (200, 24)])
def test_the_page_fits_the_terminal(figures, width, height):
    """No line is wider and the page is no taller than the terminal, whatever the names."""
    lines = drawn(figures, width, height)

    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_the_page_says_what_matters(figures):
    """Rates, verdicts, latency, bypass rate, budgets, reasons and the ledger, at 80 by 24."""
    text = "\n".join(drawn(figures, 80, 24))

    for word in ("requests/s", "p50", "p99", "bypass rate", "allow", "warn", "modify", "deny"):
        assert word in text
    assert "2,345 audit records" in text
    assert "team-day" in text
    assert "Ctrl-C ends it" in text


def test_a_terminal_without_unicode_gets_plain_bars(figures):
    """Nothing that its encoding lacks is drawn."""
    assert any("####" in line_ for line_ in drawn(figures, 80, 24, encoding="ascii"))
    assert glyphs_for("latin-1") is ASCII
    assert glyphs_for("UTF-8") is UNICODE


def test_a_line_of_a_log_says_the_same(figures):
    """Without a terminal there is one line with all figures."""
    text = line(figures, Ledger(12.0, 3, 0.2))

    assert "1,234 sent" in text
    assert "deny 17%" in text
    assert "audit 2,345" in text


@given(st.floats(0, 5), st.floats(0, 5), st.integers(1, 100))
def test_a_bar_is_as_wide_as_it_says(first, second, width):
    """Overspent budgets included; and what is not 0 shows, if there is room at all."""
    text = bar(first, second, width, UNICODE)

    assert len(text) == width
    assert (UNICODE.full in text) >= (first > 0)


def test_a_budget_is_named_by_whose_it_is():
    """The account where it is of all of it, the key where it has one, cut where it is long."""
    assert budget_label("month", "globex/robotik", "") == "globex/robotik month"
    assert budget_label("day", "globex/robotik", "robotik") == "globex/robotik day"
    assert len(budget_label("day", "acme", "0123456789abcdef")) == len("acme/") + 11 + len(" day")


def test_amounts_and_times_are_short():
    """Small amounts keep their digits, large ones their commas."""
    assert [usd(n) for n in (0, 12_345_000, 1_500_000_000)] == ["$0.00", "$0.0123", "$1.50"]
    assert [clock(s) for s in (0.9, 67, 7209)] == ["0:00", "1:07", "2:00:09"]
