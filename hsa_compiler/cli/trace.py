"""The `trace` command: record which chunks a trained model selects.

hsa-compiler trace run --out run.trace                # on the synthetic needle task
hsa-compiler trace run --out run.trace --text README.md --tokens 8192 --layers 0
hsa-compiler autotune --trace run.trace --shapes tiny # tune on it
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsa_compiler.cli.model_commands import Backend, Device, pick_backend, pick_device
from hsa_compiler.cli.output import print_table
from hsa_compiler.errors import InputError
from hsa_compiler.folders import require_writable


def trace(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a run or of one checkpoint.")],
    out: Annotated[Path, typer.Option(help="File to write; it must not exist.")],
    text: Annotated[
        Path | None, typer.Option(help="Text that the model reads: a file or a folder.")
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The needle task instead, which is the default.")
    ] = False,
    tokens: Annotated[int, typer.Option(help="Tokens of the one sequence that is read.")] = 4096,
    layers: Annotated[
        str | None, typer.Option(help="HSA layers to record, such as 0,2; by default all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the needle task.")] = 1,
    device: Device = "auto",
    backend: Backend = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Record which chunks a trained model's HSA layers select, to tune on them."""
    from hsa_compiler.model.checkpoint import open_checkpoint
    from hsa_compiler.model.config import validate as validate_config
    from hsa_compiler.model.data import ByteCorpus
    from hsa_compiler.model.trace import check_trace, needle_tokens, text_tokens, trace_model
    from hsa_compiler.model.training import TrainConfig
    from hsa_compiler.runtime import validate

    if text is not None and synthetic:
        raise InputError("--text and --synthetic both name what the model reads: give one of them")
    validate.at_least("--tokens", tokens, 1)
    wanted = None if layers is None else parse_layers(layers)
    where, kernels = pick_device(device), pick_backend(backend)
    if out.exists() or out.is_symlink():
        raise InputError(f"--out {out} exists: give another file, or remove it")
    stored = open_checkpoint(checkpoint)
    check_trace(stored.model, tokens, wanted)
    corpus = None if text is None else ByteCorpus.read(text)
    model = stored.load_model(where, kernels)
    if corpus is not None:
        read = text_tokens(model, corpus, tokens)
    else:
        task = validate_config(TrainConfig, stored.train, str(stored.path), "train").task
        read = needle_tokens(model, task, tokens, seed)
    require_writable("--out", out.parent, "give a file in another folder")
    name = "/".join(stored.path.absolute().parts[-2:])  # the run and its step
    found = trace_model(model, read.to(where), name, wanted)
    found.save(out)
    rows = [
        {
            "layer": selection.layer,
            "tokens": selection.indices.shape[1],
            "heads": selection.indices.shape[2],
            "chunks": selection.chunks,
            "union_over_k": selection.union,
        }
        for selection in found.selections
    ]
    title = f"{out}: S={found.chunk_size} K={found.top_k}, trace {found.hash[:12]}"
    print_table(title, rows, as_json)


def parse_layers(text: str) -> list[int]:
    """``0,2`` -> [0, 2]. Raises InputError."""
    from hsa_compiler.runtime.validate import is_whole

    parts = [part.strip() for part in text.split(",")]
    if not all(is_whole(part) for part in parts):
        raise InputError(f"layers {text!r}: give whole numbers such as 0,2")
    return [int(part) for part in parts]
