"""How commands print: one table for people, the same rows as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

#: Columns of a table that is not printed on a terminal.
PIPE_WIDTH = 200


def print_json(data: Any) -> None:
    """Indented JSON on standard output; paths and other values as text."""
    print(json.dumps(data, indent=2, default=str))


def print_table(
    title: str, rows: Sequence[Mapping[str, Any]], as_json: bool, empty: str = "nothing"
) -> None:
    """Rows with the same keys as a table or, with `as_json`, as a list of objects.

    `empty` is what a person reads when there are no rows.
    """
    if as_json:
        print_json(list(rows))
        return
    console = Console()
    if not console.is_terminal:
        # A file or a pipe has no width: lines need not be folded for it.
        console = Console(width=max(console.width, PIPE_WIDTH))
    if not rows:
        console.print(escape(empty), highlight=False, soft_wrap=True)
        return
    table = Table(title=escape(title), box=box.SIMPLE, title_justify="left", show_edge=False)
    for name, value in rows[0].items():
        number = isinstance(value, (int, float))
        table.add_column(
            name.replace("_", " "), justify="right" if number else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def human_bytes(count: float) -> str:
    """``"1.5 MiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")
