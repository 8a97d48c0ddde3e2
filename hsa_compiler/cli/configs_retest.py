"""``hsa-compiler configs retest``: do the tuned configs still hold on this machine?

hsa-compiler configs retest                                # every winner of this machine's device
hsa-compiler configs retest --kernels attend --limit 4     # a canary for CI
hsa-compiler configs retest --against nvidia_h100_80gb_hbm3 # what would that device's configs cost?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsa_compiler.cli.model_commands import pick_device
from hsa_compiler.cli.options import Folder
from hsa_compiler.cli.output import print_json, print_table

if TYPE_CHECKING:
    from hsa_compiler.tuner.rematch import Retested
    from hsa_compiler.tuner.retest import Outcome


def retest(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    kernels: Annotated[
        str, typer.Option(help="Kernels to race, separated by commas; all of them by default.")
    ] = "",
    folder: Folder = None,
    limit: Annotated[
        int | None, typer.Option(help="Race this many winners, those of all kernels in turn.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Time for the whole run; winners that it does not reach are named."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Race them against what won on another device alone, by its folder's name: what "
            "would its configs cost here?"
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="The journal or Optuna storage URL of the runs that found the winners."),
    ] = None,
    compile_workers: Annotated[
        int | None,
        typer.Option(help="Processes that compile; by default one per usable CPU.", min=1),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result on stdout as JSON; progress on stderr.")
    ] = False,
) -> None:
    """Race this device's tuned winners again, against the defaults and their runners-up.

    Exit code 1 when one is beaten or fails, or none could be raced. No config is written; the
    commands that tune again what does not stand are printed.
    """
    from hsa_compiler.tuner.retest import Request, run
    from hsa_compiler.tuner.shapes import parse_kernels
    from hsa_compiler.tuner.ui import Progress, make_console

    request = Request(
        device=pick_device(device),
        kernels=parse_kernels(kernels),
        folders=tuple(folder) if folder else None,
        limit=limit,
        seconds=seconds,
        storage=storage,
        workers=compile_workers,
        against=against,
    )
    with Progress(make_console(stderr=as_json)) as progress:
        outcome = run(request, progress)
    if as_json:
        print_json(outcome.to_json())
    else:
        _print(outcome)
    if outcome.interrupted:
        raise typer.Exit(130)
    if not outcome.stands:
        raise typer.Exit(1)


def _print(outcome: Outcome) -> None:
    from hsa_compiler.tuner.ui import shortened

    rows = [_row(result) for result in outcome.results]
    print_table(f"Stored winners on {outcome.slug}", rows, False, empty="No winner was raced.")
    for result in outcome.results:
        if result.message:
            typer.echo(f"{result.kernel} {result.shape}: {shortened(result.message)}")
    if outcome.commands:
        typer.echo("To tune again what does not stand:")
        for command in outcome.commands:
            typer.echo(f"  {command}")


def _row(result: Retested) -> dict[str, Any]:
    from hsa_compiler.tuner.ui import gain, moved

    changed = [
        f"{name} {then or 'absent'} -> {now or 'absent'}"
        for name, (then, now) in result.changed.items()
    ]
    return {
        "kernel, shape class": f"{result.kernel}\n{result.shape}",
        "selection": result.locality,
        "outcome": result.outcome,
        "best rival": f"{result.by} {gain(result)}".strip() or None,
        "ms": result.time_ms,
        "recorded": result.recorded_ms,
        "moved": moved(result) or None,
        "changed since": "\n".join(changed) or None,
    }
