"""The `pareto` command: architectures that trade latency against quality.

hsa-compiler pareto --shape L=4096,Hq=16,H=2,D=64 --chunk-sizes 32,64 --top-k 8,16,32
hsa-compiler pareto --run run --backward            # what a trained model's HSA layers look at
hsa-compiler pareto --tensors qk.safetensors --window 512
hsa-compiler pareto --quality loss --steps 100      # train a small model of each architecture
hsa-compiler pareto --resume                        # go on after Ctrl-C or with more trials
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsa_compiler.cli.model_commands import parse_lengths, pick_device
from hsa_compiler.cli.output import print_json, print_table
from hsa_compiler.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from hsa_compiler.benchmarks.front import Front
    from hsa_compiler.model.checkpoint import Checkpoint
    from hsa_compiler.tuner.shapes import Shape

#: The call where none is given, by kind of device.
DEFAULT_CALL = {"cpu": "cpu2k", "cuda": "a8"}
#: The tokens of a call with the heads of a trained model.
RUN_LENGTH = 2048
#: Optuna's sampler takes 32 bits; a resumed search adds what was tried.
SEED_LIMIT = 2**31 - 1
SEARCHED = {"S": "--chunk-sizes", "K": "--top-k", "Hr": "--retrieval-heads"}


def pareto(
    chunk_sizes: Annotated[str, typer.Option(help="Chunk sizes to choose from.")] = "16,32,64,128",
    top_k: Annotated[str, typer.Option(help="Numbers of retrieved chunks.")] = "4,8,16,32",
    retrieval_heads: Annotated[
        str | None,
        typer.Option(help="Numbers of retrieval heads; by default 1, H and Hq."),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            help="The call: a preset of autotune, or L=4096,Hq=16,H=2,D=64[,Lkv=..,Dr=..,B=..]; "
            "heads and dims come from --run or --tensors where they are given."
        ),
    ] = None,
    quality: Annotated[
        str,
        typer.Option(help="recall (of dense attention's far mass) or loss (after a few steps)."),
    ] = "recall",
    run: Annotated[
        Path | None,
        typer.Option(help="Recall on the HSA layers of this trained model (a run's folder)."),
    ] = None,
    tensors: Annotated[
        Path | None,
        typer.Option(help="Recall on the tensors q [B,L,Hq,D] and k [B,Lkv,H,D] of a safetensors."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Sliding window W: what lies within it needs no retrieval. By default the model's "
            "own, or the largest chunk size where recall has no model.",
            min=1,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps of each model, for loss.", min=1)] = 50,
    backward: Annotated[bool, typer.Option(help="Time the gradients, too.")] = False,
    trials: Annotated[int, typer.Option(help="Most architectures to try.", min=1)] = 100,
    seconds: Annotated[float, typer.Option(help="No trial begins after this long.")] = 600.0,
    storage: Annotated[
        str | None, typer.Option(help="A journal's path or an Optuna storage URL.")
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Continue the newest run of the same search.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the front.")] = Path("pareto"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    seed: Annotated[
        int, typer.Option(help="Of tensors, training and the search.", min=0, max=SEED_LIMIT)
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result on stdout as JSON; progress on stderr.")
    ] = False,
) -> None:
    """Search chunk size, top-k and retrieval heads for latency against quality."""
    from hsa_compiler.benchmarks import pareto as search
    from hsa_compiler.benchmarks.architecture import Space, small_model
    from hsa_compiler.benchmarks.quality import TRAIN_LENGTH, Loss, Quality, Recall
    from hsa_compiler.model.checkpoint import open_checkpoint
    from hsa_compiler.model.recall import read_qk
    from hsa_compiler.runtime.validate import one_of

    one_of("--quality", quality, ("recall", "loss"))
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"--seconds {seconds}: give a number above 0")
    if storage is not None and not storage.strip():
        raise InputError("--storage is empty: give a path, or leave the option out")
    if run is not None and tensors is not None:
        raise InputError("--run and --tensors both say what recall looks at: give one of them")
    if quality == "loss" and (run is not None or tensors is not None):
        raise InputError("--run and --tensors are for recall: leave them out with --quality loss")
    where = pick_device(device)
    sizes = tuple(parse_lengths(chunk_sizes, "--chunk-sizes"))
    counts = tuple(parse_lengths(top_k, "--top-k"))
    stored = open_checkpoint(run) if run is not None else None
    qk = read_qk(tensors) if tensors is not None else None
    call = find_shape(shape, where.partition(":")[0], sizes_of(stored, qk))
    base = stored.model if stored is not None else small_model(call)
    if window is not None or (quality == "recall" and stored is None):
        base = dataclasses.replace(base, window=window or max(sizes))
    heads = (
        tuple(parse_lengths(retrieval_heads, "--retrieval-heads"))
        if retrieval_heads is not None
        else tuple(sorted({1, call.H, call.Hq}))
    )
    measure: Quality
    if quality == "loss":
        measure = Loss(steps, min(call.L, TRAIN_LENGTH), seed, where)
    elif stored is not None:
        measure = Recall.of_run(stored, call.B, call.Lkv, seed, where)
    elif qk is not None and tensors is not None:
        measure = Recall.of_file(tensors, qk, where)
    else:
        measure = Recall.of_drawn(call, seed, where)
    request = search.Request(
        space=Space(call, base, sizes, counts, heads),
        quality=measure,
        device=where,
        backward=backward,
        trials=trials,
        seconds=seconds,
        seed=seed,
        folder=out,
        storage=storage,
        resume=resume,
    )
    front, interrupted = search.run(request, lambda line: typer.echo(line, err=True))
    if as_json:
        print_json(front.to_json())
    else:
        print_front(front)
    save_plot(front, out)
    if interrupted:
        typer.echo("stopped; the same command with --resume continues", err=True)
        raise typer.Exit(130)
    if not front.points:
        raise typer.Exit(1)


def sizes_of(stored: Checkpoint | None, qk: tuple[Tensor, Tensor] | None) -> dict[str, int]:
    """What a trained model or given tensors say of the call: Hq, H, D and more."""
    if stored is not None:
        model = stored.model
        heads = {"Hq": model.heads, "H": model.hsa_kv_heads, "D": model.head_dim}
        return {**heads, "Dr": model.retrieval_dim, "L": RUN_LENGTH}
    if qk is not None:
        (_, length, heads_q, dim), (_, keys, heads_kv, _) = qk[0].shape, qk[1].shape
        return {"Hq": heads_q, "H": heads_kv, "D": dim, "L": length, "Lkv": keys}
    return {}


def find_shape(text: str | None, kind: str, known: dict[str, int]) -> Shape:
    """The call to time; `known` sizes fill in what the text leaves out.

    S, K and Hr are those of no architecture. Raises InputError for a text that names one of them,
    and for heads or dims that are not the known ones.
    """
    from hsa_compiler.benchmarks.rows import Row
    from hsa_compiler.tuner.shapes import parse_shape

    if text is None and not known:
        text = DEFAULT_CALL[kind]
    if text is None or "=" in text:
        parts = text.split(",") if text is not None else []
        named = {part.partition("=")[0].strip() for part in parts}
        for name, option in SEARCHED.items():
            if name in named:
                raise InputError(f"--shape {text!r}: {name} is searched; give {option} instead")
        # The keys of given tensors belong to their own number of queries.
        left_out = named | ({"Lkv"} if "L" in named else set())
        parts += [f"{name}={size}" for name, size in known.items() if name not in left_out]
        # Any legal ones: every architecture brings its own.
        text = ",".join([*parts, "S=16", "K=1", "Hr=1"])
    found = parse_shape(text, "fp32" if kind == "cpu" else "bf16")
    if found.decode:
        raise InputError(
            f"--shape {found.name!r}: pareto times hsa_attention, not decoding: give a shape "
            "without decode=1"
        )
    for name in ("Hq", "H", "D", "Dr"):
        if name in known and getattr(found, name) != known[name]:
            raise InputError(
                f"--shape {found.name!r} has {name}={getattr(found, name)}, but what recall looks "
                f"at has {known[name]}: give a shape without {name}, such as L={known['L']}"
            )
    return Row("pareto", found).on(kind).shape


def print_front(front: Front) -> None:
    """The front as a table, and what is not on it for other reasons than being worse."""
    passes = "forward and backward" if front.settings["backward"] else "forward"
    print_table(
        f"Latency ({passes}, median ± interquartile range) against {front.quality['measure']}",
        front.table(),
        False,
        empty="nothing was measured",
    )
    if front.illegal:
        rows = [{"count": n, "reason": reason} for reason, n in front.illegal.items()]
        print_table("Combinations that are not legal", rows, False)
    if front.failures:
        print_table("Failed", [dataclasses.asdict(failure) for failure in front.failures], False)
    if front.untried:
        typer.echo(f"{front.untried} legal architectures were not tried")


def save_plot(front: Front, folder: Path) -> None:
    """Draw the picture beside the JSON file; without matplotlib, say so."""
    from hsa_compiler.benchmarks.front import FILE
    from hsa_compiler.errors import NoPlot

    typer.echo(f"wrote {folder / FILE}", err=True)
    try:
        typer.echo(f"wrote {front.plot(folder)}", err=True)
    except NoPlot as error:
        typer.echo(str(error), err=True)
