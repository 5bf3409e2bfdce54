"""What became of the weights in a file."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

from ..errors import some

Shape = tuple[int, ...]
SHOWN = 4  # names per row


@dataclass
class LoadReport:
    """What :func:`load_checkpoint` did. ``print(report)`` writes it as text, rich as a table.

    Attributes:
        source: Where the weights come from: a path, or 'the state dict'.
        layout: Whose names they had.
        prefix: What stood before the encoder's names.
        filled: Names of the encoder's parameters that the file filled.
        resized: Of these, the ones that were resized: name -> (shape in the file, shape in the
            model).
        unfilled: Names of the encoder's parameters that keep their values, and why.
        left: Names in the file that were not used, and why.
    """

    source: str
    layout: str
    prefix: str
    filled: list[str] = field(default_factory=list)
    resized: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    unfilled: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """(what, which) in the order in which they are shown."""
        total = len(self.filled) + len(self.unfilled)
        rows = [
            ("layout", place(self.layout, self.prefix)),
            ("filled", f"{len(self.filled)} of {total} parameters"),
        ]
        changes = [f"{n} {old} -> {new}" for n, (old, new) in self.resized.items()]
        rows += [("resized", text) for text in some(changes, SHOWN, separator="\n").splitlines()]
        for title, names in (("unfilled", self.unfilled), ("left aside", self.left)):
            for why in dict.fromkeys(names.values()):
                group = [name for name, reason in names.items() if reason == why]
                rows.append((title, f"{len(group)}, {why}: {some(group, SHOWN)}"))
        return rows

    def __str__(self) -> str:
        return "\n".join([self.source, *(f"  {what:<10}  {which}" for what, which in self.rows())])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(title=escape(self.source), title_justify="left", show_header=False)
        for what, which in self.rows():
            style = "bold yellow" if what == "unfilled" else "bold"
            table.add_row(f"[{style}]{what}[/]", escape(which))
        yield table


def place(layout: str, prefix: str) -> str:
    """Where an encoder was found, in words."""
    return layout + (f", under '{prefix}'" if prefix else "")
