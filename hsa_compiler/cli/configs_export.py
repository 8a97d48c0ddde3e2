"""``hsa-compiler configs export``: the tuned configs as tuning tables of other projects.

hsa-compiler configs export --format vllm --device nvidia_h200 --out tables
hsa-compiler configs export --format triton --kernels attend,retrieve --out tables
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hsa_compiler.cli.options import AsJson, Folder
from hsa_compiler.cli.output import print_table
from hsa_compiler.configs import ConfigStore
from hsa_compiler.configs.tables import FORMATS, tables
from hsa_compiler.errors import InputError, WriteError
from hsa_compiler.folders import require_writable, write_whole


def export(
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="vllm (a JSON file per shape family) or triton (a Python module per device).",
        ),
    ],
    out: Annotated[str, typer.Option(metavar="PATH", help="The folder to write to.")],
    device: Annotated[
        str | None,
        typer.Option(help="A device's folder, e.g. nvidia_h200; all of them by default."),
    ] = None,
    kernels: Annotated[
        str, typer.Option(help="Kernels, separated by commas; all of them by default.")
    ] = "",
    folder: Folder = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write tuned Triton schedules as vLLM-style JSON tables or as `triton.Config`s."""
    from hsa_compiler.runtime.validate import one_of
    from hsa_compiler.tuner.shapes import parse_kernels

    one_of("--format", format_, tuple(FORMATS))
    if not out.strip():
        raise InputError("--out is empty: give a folder")
    if device is not None and not device.strip():
        raise InputError("--device is empty: name one, or leave the option out")
    winners = ConfigStore(folder or None).winners(device, parse_kernels(kernels))
    found = tables(winners)
    texts = FORMATS[format_](found)
    target = Path(out).expanduser()
    _write(target, texts, force)
    rows = [
        {
            "device": table.slug,
            "family": table.name,
            "tokens": ", ".join(map(str, table.entries)),
            "variant": table.first.shape.variant,
        }
        for table in found
    ]
    print_table(f"{len(texts)} files in {target}", rows, as_json)


def _write(folder: Path, texts: dict[str, str], force: bool) -> None:
    """Write all files, each in one step; none where one is there already and `force` is not given.

    Raises InputError, ConfigError or WriteError.
    """
    try:
        there = [name for name in texts if os.path.lexists(folder / name)]
        if there and not force:
            raise InputError(
                f"--out {folder} has {len(there)} of these files already, {there[0]} first: give "
                "another folder, or --force to replace them"
            )
        require_writable("--out", folder, "give another folder")
        for name, text in texts.items():
            write_whole(folder / name, text.encode())
    except OSError as error:
        reason = error.strerror or error
        raise WriteError(f"--out {folder}: cannot be written: {reason}") from error
