"""``hsa-compiler cache list|clear``: the generated kernels.

hsa-compiler cache list --json
hsa-compiler cache clear --kernel attend
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from hsa_compiler.cache import KernelCache
from hsa_compiler.cli.options import AsJson
from hsa_compiler.cli.output import human_bytes, print_json, print_table
from hsa_compiler.errors import InputError
from hsa_compiler.schedules.schedule import KERNELS

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[Path | None, typer.Option(help="Another cache folder than the user's.")]


@app.command("list")
def list_command(folder: Folder = None, as_json: AsJson = False) -> None:
    """List the generated files, the most recently used first."""
    cache = KernelCache(folder)
    entries = cache.entries()
    rows = [
        {
            "kernel": entry.kernel,
            "file": entry.path.name,
            "bytes": entry.bytes,
            "used": datetime.datetime.fromtimestamp(entry.used).isoformat(" ", "seconds"),
        }
        for entry in entries
    ]
    size = human_bytes(sum(entry.bytes for entry in entries))
    title = f"{cache.folder}: {len(rows)} files, {size} of at most {human_bytes(cache.max_bytes)}"
    print_table(title, rows, as_json, empty=f"{cache.folder}: empty")


@app.command("clear")
def clear_command(
    folder: Folder = None,
    kernel: Annotated[
        list[str] | None, typer.Option(help="Only this kernel's files; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove generated files; they are made again when needed."""
    unknown = [name for name in kernel or () if name not in KERNELS]
    if unknown:
        raise InputError(f"no kernel {unknown[0]!r}; there are: {', '.join(KERNELS)}")
    cache = KernelCache(folder)
    removed = cache.clear(kernel or None)
    if as_json:
        print_json({"folder": str(cache.folder), "removed": removed})
    else:
        print(f"{cache.folder}: {removed} files removed")
