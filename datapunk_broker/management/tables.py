"""Write tables: ruled on a terminal, aligned plain text elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.management.base import OutputWrapper

try:
    from rich import box, console
    from rich import table as ruled
except ImportError:
    HAS_RICH = False
else:
    HAS_RICH = True

Cell = str | int


@dataclass(frozen=True, slots=True)
class Table:
    """A table. Whole numbers stand to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def plain(self) -> str:
        """Return the table as aligned lines."""
        lines = [self.columns, *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.columns))]
        aligned = (
            "  ".join(
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(line, widths, self.right, strict=True)
            ).rstrip()
            for line in lines
        )
        return "\n".join([self.title, *aligned])

    @property
    def right(self) -> list[bool]:
        """Which columns hold nothing but numbers."""
        return [
            bool(self.rows) and all(isinstance(row[column], int) or row[column] == "-" for row in self.rows)
            for column in range(len(self.columns))
        ]


def write(out: OutputWrapper, tables: Sequence[Table], *, again: bool = False) -> None:
    """Write the tables to the command's standard output; ``again`` takes the place of those before on a terminal."""
    if HAS_RICH and out.isatty():
        terminal = console.Console()
        if again:
            terminal.clear()
        for table in tables:
            terminal.print(_ruled(table))
    else:
        out.write("\n\n".join(table.plain() for table in tables) + "\n" * again)


def _ruled(table: Table) -> "ruled.Table":
    made = ruled.Table(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    for column, right in zip(table.columns, table.right, strict=True):
        made.add_column(column, justify="right" if right else "left")
    for row in table.rows:
        made.add_row(*map(_text, row))
    return made


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else f"{cell:,}"
