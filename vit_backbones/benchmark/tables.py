"""Header and rows of text as a table for the terminal, and as one in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

Rows = Sequence[Sequence[str]]


def terminal_table(title: str, header: Sequence[str], body: Rows) -> Table:
    """The first column to the left, the others to the right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    for row in body:
        table.add_row(*row)
    return table


def markdown_table(title: str, header: Sequence[str], body: Rows) -> str:
    """Likewise; the title stands above the first column."""
    header = [title, *header[1:]]
    rule = ["---"] + ["---:"] * (len(header) - 1)
    cells = ([cell.replace("|", "\\|") for cell in row] for row in [header, rule, *body])
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def short(value: float) -> str:
    """Three digits or so: 0.123, 4.5, 67, 8,901."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.3g}"
