"""The worked example of docs/money.md."""

from pathlib import Path

from state_desk import DAY, TTL_US, Desk, usage

CENT = 10_000_000
LIMIT = 100 * CENT


def test_the_worked_example_of_the_documentation() -> None:
    """The table in docs/money.md is what the code does, line by line."""
    desk = Desk(limits={DAY: LIMIT})
    lines = []

    def line() -> None:
        spent, reserved = desk.money()
        lines.append(
            [amount / CENT / 100 for amount in (spent, reserved, LIMIT - spent - reserved)]
        )

    def ask(request_id, cents, **fields) -> str:
        verdict = desk.request(request_id, cost=cents * CENT, budgets=(DAY,), **fields)
        line()
        return verdict

    def report(request_id, cents, **fields) -> int:
        found = desk.report(usage(request_id, cost_usd_nano=cents * CENT, **fields))
        line()
        return found.overrun_usd_nano // CENT

    assert ask("r1", 40) == "allow"
    assert ask("r2", 50) == "allow"
    assert ask("r3", 20) == "deny"
    report("r1", 15, final=False)
    report("r1", 25)
    assert ask("r3", 20, attempt=2) == "allow"
    assert report("r2", 60) == 10
    desk.pass_time(TTL_US)
    line()
    report("r3", 5, attempt=2)

    text = (Path(__file__).parents[3] / "docs" / "money.md").read_text()
    table = text.split("### An example")[1].split("|---|---|---|---|\n")[1].split("\n\n")[0]
    cells = [row.strip("|").split("|") for row in table.splitlines()]
    assert [[float(cell) for cell in row[1:]] for row in cells] == lines
