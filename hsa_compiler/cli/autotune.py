"""The `autotune` command: find the fastest schedules on this machine.

hsa-compiler autotune                               # the hardware at hand, 5 minutes at most
hsa-compiler autotune --device cuda:0 --shapes a8,g4 --effort standard
hsa-compiler autotune --shapes L=4096,Hq=16,H=2,D=64,S=64,K=16 --kernels attend
hsa-compiler autotune --trace run.trace --shapes tiny # on what a model really selects
hsa-compiler autotune --resume                      # go on after Ctrl-C or a crash
hsa-compiler autotune --workers 4                   # four GPUs of one model search side by side
hsa-compiler autotune --storage postgresql://tuner@host/hsa            # one machine conducts,
hsa-compiler autotune --storage postgresql://tuner@host/hsa --contribute # others add trials
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsa_compiler.cli.model_commands import pick_device
from hsa_compiler.cli.output import print_json
from hsa_compiler.errors import InputError


def autotune(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    kernels: Annotated[
        str, typer.Option(help="Kernels to tune, separated by commas; all of them by default.")
    ] = "",
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            help="Presets (tiny, cpu2k, a8, a32, a128, g4, g1, m345; decoding: d64k, d1m, d16m, "
            "m345d) separated by commas, or a shape such as L=8192,Hq=16,H=1,D=64,S=64,K=16; of a "
            "decoding step with Lkv=1048576,decode=1, and Zk=1024 for a paged cache; may be given "
            "several times."
        ),
    ] = None,
    effort: Annotated[
        str,
        typer.Option(
            help="quick (under 5 minutes), standard (30 minutes), max (4 hours), or exhaustive: "
            "every legal schedule, hours for a kernel."
        ),
    ] = "quick",
    locality: Annotated[
        str | None,
        typer.Option(
            help="Selections to time on: local (the default, as in trained models) or random."
        ),
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Time on the selections that `hsa-compiler trace` recorded; shapes need the "
            "chunk size and top-k of the model.",
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="A journal's path or an Optuna storage URL.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Continue the newest earlier run of each kernel, without its tried candidates; "
            "by default every run starts anew and keeps the earlier ones' records."
        ),
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Folder of the tuned configs; by default tuned_configs/ in a checkout, else the "
            "user's config folder.",
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe or random.")] = "tpe",
    l2: Annotated[str, typer.Option(help="GPU cache before each timing: cold or warm.")] = "cold",
    workers: Annotated[
        int,
        typer.Option(
            help="GPUs that search side by side, one process each, from --device on (1 or more)."
        ),
    ] = 1,
    contribute: Annotated[
        bool,
        typer.Option(
            help="Only add trials to a run that another process conducts with the same options and "
            "--storage, maybe on another machine with the same GPU; waits for it to begin, as long "
            "as the effort lasts."
        ),
    ] = False,
    compile_workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that compile candidates side by side; by default one per usable CPU.",
            min=1,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of inputs, selections and the search.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result on stdout as JSON; progress on stderr.")
    ] = False,
) -> None:
    """Find the fastest schedules on this machine and write them as tuned configs."""
    from hsa_compiler.runtime.validate import one_of
    from hsa_compiler.tuner.effort import effort as find_effort
    from hsa_compiler.tuner.fleet import contribute as add_trials
    from hsa_compiler.tuner.samplers import SAMPLERS
    from hsa_compiler.tuner.session import Request, run
    from hsa_compiler.tuner.shapes import parse_kernels, parse_shapes
    from hsa_compiler.tuner.traced import TraceFile
    from hsa_compiler.tuner.ui import Progress, make_console, print_outcome

    one_of("--l2", l2, ("cold", "warm"))
    one_of("--sampler", sampler, tuple(SAMPLERS))
    for name, given in (("--out", out), ("--storage", storage), ("--trace", trace)):
        # A shell's unset variable; as a folder it would be the one the user happens to be in.
        if given is not None and not given.strip():
            raise InputError(f"{name} is empty: give a path, or leave the option out")
    for name, is_given in (("--resume", resume), ("--out", out is not None)):
        if contribute and is_given:
            raise InputError(f"--contribute only adds trials to a run: leave {name} out")
    if trace is not None and locality is not None:
        raise InputError("--trace and --locality both name selections: give one of them")
    where = pick_device(device)
    budget = find_effort(effort)
    request = Request(
        device=where,
        shapes=tuple(parse_shapes(shapes or [], where.partition(":")[0], budget.default_shapes)),
        kernels=parse_kernels(kernels),
        effort=effort,
        locality=locality or "local",
        trace=None if trace is None else TraceFile.of(Path(trace).expanduser()),
        storage=storage,
        resume=resume,
        out=None if out is None else Path(out).expanduser(),
        seed=seed,
        sampler=sampler,
        warm_l2=l2 == "warm",
        workers=workers,
        compile_workers=compile_workers,
    )
    with Progress(make_console(stderr=as_json)) as progress:
        if contribute:
            added = add_trials(request, progress)
            if as_json:
                print_json({"added": added})
            else:
                typer.echo(f"{added} candidates added")
            return
        outcome = run(request, progress)
    if as_json:
        print_json(outcome.to_json())
    else:
        print_outcome(outcome, make_console())
    if outcome.interrupted:
        typer.echo("stopped; the same command with --resume continues", err=True)
        raise typer.Exit(130)
    if outcome.failed:
        raise typer.Exit(1)
