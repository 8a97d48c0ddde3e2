"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of configs instead of the user's and the packaged one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
