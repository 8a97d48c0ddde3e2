"""Commands of the model: train, generate, eval niah. The model is imported inside them only.

Try these:

    hsa-compiler train --preset tiny --data docs/ --out run
    hsa-compiler generate --checkpoint run --prompt "The " --max-new 200
    hsa-compiler eval niah --checkpoint run --lengths 512,2048 --samples 200
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from hsa_compiler.cli.output import print_table
from hsa_compiler.errors import InputError

if TYPE_CHECKING:
    from hsa_compiler.model.config import Backend as BackendName

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Backend = Annotated[str, typer.Option(help="auto, triton, tvm or reference.")]
CheckpointDir = Annotated[Path, typer.Option(help="Folder of a run or of one checkpoint.")]

eval_app = typer.Typer(help="Measure a trained model.", no_args_is_help=True)


@eval_app.callback()
def _eval() -> None:
    """Measure a trained model."""


def train(
    data: Annotated[str, typer.Option(help="A text file, a folder of them, or 'synthetic'.")],
    out: Annotated[Path, typer.Option(help="Folder for the log and the checkpoints.")] = Path(
        "run"
    ),
    preset: Annotated[str | None, typer.Option(help="tiny, the default, or 345m.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Model configuration (JSON); the preset then gives only the recipe."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(help="Seconds of training steps; the schedules end then, too."),
    ] = None,
    seq_len: Annotated[
        str | None,
        typer.Option(help="Sequence length, or a curriculum such as 256,0.5:512,0.8:1024."),
    ] = None,
    batch_tokens: Annotated[int | None, typer.Option(help="Tokens of one step.")] = None,
    micro_tokens: Annotated[
        int | None, typer.Option(help="At most this many tokens at once; the rest accumulates.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    synthetic: Annotated[
        float | None, typer.Option(help="Share of needle samples mixed into text.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16 (autocast).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of initialisation and data.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    eval_every: Annotated[int | None, typer.Option(help="Steps between evaluations.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run in --out.")] = False,
    device: Device = "auto",
    backend: Annotated[
        str | None,
        typer.Option(help="auto, triton, tvm or reference; else what the configuration says."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Log records on stdout.")] = False,
) -> None:
    """Train a model on text files (bytes) or on the synthetic needle task."""
    from hsa_compiler.model.checkpoint import has_checkpoint
    from hsa_compiler.model.config import HSAConfig
    from hsa_compiler.model.config import preset as preset_config
    from hsa_compiler.model.data import ByteCorpus
    from hsa_compiler.model.recipes import recipe
    from hsa_compiler.model.training import TrainRun

    where = pick_device(device)
    wanted: dict[str, Any] = {
        "steps": steps,
        "max_seconds": max_seconds,
        "stages": parse_stages(seq_len) if seq_len is not None else None,
        "batch_tokens": batch_tokens,
        "micro_tokens": micro_tokens,
        "lr": lr,
        "synthetic": synthetic,
        "precision": precision,
        "seed": seed,
        "save_every": save_every,
        "eval_every": eval_every,
    }
    changes = {name: value for name, value in wanted.items() if value is not None}
    corpus = None if data == "synthetic" else ByteCorpus.read(Path(data))
    kernels = pick_backend(backend) if backend is not None else None
    model = preset_config(preset or "tiny")
    if config is not None:
        model = HSAConfig.load(config)
    if resume:
        run = TrainRun.resume(out, corpus=corpus, device=where, backend=kernels, **changes)
        stored = run.model.config
        model = dataclasses.replace(model, attention_backend=stored.attention_backend)
        if (config is not None or preset is not None) and model != stored:
            raise InputError(
                f"{out} holds a run of another model than "
                f"{f'--config {config}' if config is not None else f'--preset {preset}'}: leave "
                "it out to continue that run, or give another --out"
            )
    elif has_checkpoint(out):
        raise InputError(f"{out} holds a run: pass --resume to continue it, or another --out")
    else:
        plan = recipe(preset or "tiny", where, text=corpus is not None)
        plan = dataclasses.replace(plan, **changes)
        if kernels is not None:
            model = dataclasses.replace(model, attention_backend=kernels)
        run = TrainRun(model, plan, out, corpus=corpus, device=where)
    try:
        if as_json:
            run.train(lambda record: typer.echo(json.dumps(record)))
        else:
            _train_with_progress(run)
    except KeyboardInterrupt:
        typer.echo(
            f"stopped at step {run.progress.step}; `hsa-compiler train --resume --out {out}` goes "
            "on from the newest checkpoint there",
            err=True,
        )
        raise typer.Exit(130) from None


def _train_with_progress(run: Any) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console()
    columns = (
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  lr {task.fields[lr]:.1e}"),
        TextColumn("{task.fields[speed]:,.0f} tokens/s  {task.fields[length]} tokens a sequence"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=1.0, step=0, loss=float("nan"), lr=0, speed=0, length=0)

        def report(record: dict[str, Any]) -> None:
            if record["event"] == "step":
                progress.update(
                    bar,
                    completed=run.share,
                    step=record["step"],
                    loss=record["loss"],
                    lr=record["lr"],
                    speed=record["tokens_per_s"],
                    length=record["seq_len"],
                )
            else:
                progress.console.print(describe(record), highlight=False, markup=False)

        run.train(report)
    console.print(f"checkpoints and log.jsonl are in {run.folder}", markup=False)


def describe(record: dict[str, Any]) -> str:
    """A log record in words."""
    if record["event"] == "kernels":
        rows = record["kernels"]
        lines = [f"  {r['kernel']} {r['dtype']}: {r['schedule']} [{r['tier']}]" for r in rows]
        return "\n".join(["kernels:", *lines])
    if record["event"] == "eval":
        return (
            f"step {record['step']}: held-out {record['held_out_loss']:.4f} nats per byte "
            f"(bigram {record['bigram_loss']:.4f})"
        )
    return (
        f"{record['event']} at step {record['step']}: {record['parameters']:,} parameters on "
        f"{record['device']}, data {record['data']}"
    )


def generate(
    checkpoint: CheckpointDir,
    prompt: Annotated[str, typer.Option(help="Text to continue.")] = "",
    max_new: Annotated[int, typer.Option(help="Most bytes to write.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest byte.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Sample from this much probability.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    segment: Annotated[int, typer.Option(help="Prompt tokens per prefill call.")] = 8192,
    device: Device = "auto",
    backend: Backend = "auto",
) -> None:
    """Continue a text, byte by byte, as it is made."""
    from hsa_compiler.model.checkpoint import open_checkpoint
    from hsa_compiler.model.generate import stream_text

    model = open_checkpoint(checkpoint).load_model(pick_device(device), pick_backend(backend))
    pieces = stream_text(
        model,
        prompt,
        max_new,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        segment=segment,
    )
    first = next(pieces, "")  # a bad option shows before anything is written
    # A terminal of another encoding shows "?" for what it cannot: a model may write anything.
    encoding = sys.stdout.encoding or "utf-8"
    for piece in itertools.chain([prompt, first], pieces, ["\n"]):
        sys.stdout.write(piece.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()


@eval_app.command("niah")
def eval_niah(
    checkpoint: CheckpointDir,
    lengths: Annotated[str, typer.Option(help="Prompt lengths in bytes.")] = "512,2048",
    samples: Annotated[int, typer.Option(help="Prompts per length.")] = 200,
    scoring: Annotated[str, typer.Option(help="teacher_forced or substring.")] = "teacher_forced",
    zero_hsa: Annotated[bool, typer.Option(help="Control: zero the HSA output.")] = False,
    distractors: Annotated[int, typer.Option(help="Needles with other keys.")] = 0,
    at_least: Annotated[
        float | None, typer.Option(help="Exit with 1 if a length finds a smaller share, 0 .. 1.")
    ] = None,
    segment: Annotated[int, typer.Option(help="Prompt tokens per prefill call.")] = 8192,
    seed: Annotated[int, typer.Option(help="Of the prompts.")] = 1,
    device: Device = "auto",
    backend: Backend = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Single needle in a haystack, always further away than the windows reach."""
    from hsa_compiler.model.checkpoint import open_checkpoint
    from hsa_compiler.model.config import validate
    from hsa_compiler.model.evaluate import evaluate_niah
    from hsa_compiler.model.training import TrainConfig

    if at_least is not None and not 0 <= at_least <= 1:
        raise InputError(f"at-least = {at_least}: give a share in 0 .. 1, such as 0.95")
    stored = open_checkpoint(checkpoint)
    task = validate(TrainConfig, stored.train, str(stored.path), "train").task
    model = stored.load_model(pick_device(device), pick_backend(backend))
    results = [
        evaluate_niah(
            model,
            task,
            length,
            samples,
            seed=seed,
            scoring=scoring,
            zero_hsa=zero_hsa,
            distractors=distractors,
            segment=segment,
        )
        for length in parse_lengths(lengths)
    ]
    hsa = "HSA output zeroed" if zero_hsa else "HSA on"
    rows = [{**dataclasses.asdict(r), "share": r.share} for r in results]
    if not as_json:
        shown = ("length", "samples", "found", "share")
        rows = [{name: row[name] for name in shown} for row in rows]
    print_table(
        f"S-NIAH, {scoring}, {hsa}, {distractors} distractors; "
        f"every needle over {results[0].reach} bytes away",
        rows,
        as_json,
    )
    if at_least is not None and any(r.share < at_least for r in results):
        raise typer.Exit(1)


def pick_device(name: str) -> str:
    """``auto`` is the GPU if there is one. Raises InputError for a device that is not there."""
    import torch

    from hsa_compiler.runtime.validate import is_whole

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not is_whole(index)):
        raise InputError(f"device {name!r}: give auto, cpu, cuda or cuda:N")
    if kind == "cpu" and int(index or 0) > 0:
        raise InputError(f"device {name!r}: all CPUs are one device, cpu")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {name!r}: there are {torch.cuda.device_count()} GPUs here")
    return name


def pick_backend(name: str) -> BackendName:
    """Raises InputError for a name that is no attention backend."""
    from hsa_compiler.model.config import Backend as BackendName

    if name not in get_args(BackendName):
        raise InputError(f"backend {name!r}: give {', '.join(get_args(BackendName))}")
    return cast("BackendName", name)


def parse_lengths(text: str, name: str = "lengths") -> list[int]:
    """``512,2048`` -> [512, 2048]; `name` stands in errors."""
    try:
        lengths = [int(part) for part in text.split(",")]
    except ValueError as err:
        raise InputError(f"{name} {text!r}: give whole numbers such as 512,2048") from err
    if min(lengths) < 1:
        raise InputError(f"{name} {text!r}: give numbers above 0")
    return lengths


def parse_stages(text: str) -> tuple[tuple[float, int], ...]:
    """``256,0.5:512`` -> ((0.0, 256), (0.5, 512))."""
    stages = []
    for part in text.split(","):
        start, colon, length = part.rpartition(":")
        try:
            stages.append((float(start) if colon else 0.0, int(length)))
        except ValueError as err:
            raise InputError(f"seq-len {text!r}: give 512, or 256,0.5:512,0.8:1024") from err
    return tuple(stages)
