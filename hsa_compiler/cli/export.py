"""``hsa-compiler export``: compiled kernels as a folder that runs without this package.

hsa-compiler export --target cpu --shapes cpu2k --out kernels
hsa-compiler export --target cpu:x86-64-v3:8 --passes both --bundle --out kernels
hsa-compiler export --target sm_90 --device nvidia_h200 --shapes a8 --out kernels
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsa_compiler.cli.output import human_bytes, print_json, print_table
from hsa_compiler.errors import InputError


def export(
    target: Annotated[
        str,
        typer.Option(
            help="cpu (this machine's), cpu:NAME[:THREADS] with an LLVM name such as x86-64-v3, or "
            "a GPU architecture such as sm_90, which need not be here."
        ),
    ],
    out: Annotated[str, typer.Option(metavar="PATH", help="The folder to write.")],
    shapes: Annotated[
        str,
        typer.Option(
            "--shapes",
            "--shape",
            help="A preset (tiny, cpu2k, a8, a32, a128, g4, g1, m345) or sizes such as "
            "L=8192,Hq=16,H=1,D=64,S=64,K=16; by default tiny, for GPUs a8. Heads, dims, S and K "
            "are compiled in; B, L and Lkv stay free and only steer the plan.",
        ),
    ] = "",
    passes: Annotated[str, typer.Option(help="forward, or both: with the gradients.")] = "forward",
    device: Annotated[
        str, typer.Option(help="A hardware row of the architecture, e.g. nvidia_h200.")
    ] = "",
    name: Annotated[
        str, typer.Option(help="Of the library, its functions, its header and the loader.")
    ] = "hsa",
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Add TVM's runtime libraries (6 MB; CPU only).")
    ] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="No atomic adds in gradients.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compile the operator's kernels ahead of time into a folder that runs without this package."""
    from hsa_compiler.export import export as exporting
    from hsa_compiler.tuner.shapes import parse_shapes

    if not out.strip():
        raise InputError("--out is empty: give a folder")
    kind = "cpu" if target.partition(":")[0] == "cpu" else "cuda"
    found = parse_shapes([shapes] if shapes else [], kind)
    if len(found) != 1:
        raise InputError(
            f"--shapes {shapes}: an export holds the kernels of one shape; run once for each"
        )
    request = exporting.Request(
        target=target,
        out=Path(out).expanduser().absolute(),
        shape=found[0],
        passes=passes,
        device=device,
        name=name,
        force=force,
        bundle=bundle,
        deterministic=deterministic,
    )
    outcome = exporting.export(request)
    if as_json:
        print_json(outcome)
        return
    title = f"{outcome['shape']} for {outcome['target']} ({outcome['device']})"
    print_table(title, outcome["kernels"], False)
    typer.echo(
        f"{len(outcome['files'])} files, {human_bytes(outcome['bytes'])}, in {outcome['folder']}; "
        "README.md there says how to call them"
    )
