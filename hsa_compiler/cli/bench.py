"""The `bench` command: our kernels beside their peers, in one run on one device.

hsa-compiler bench --suite paper                          # every row of this kind of device
hsa-compiler bench --suite paper --rows a8,r8 --peers cudnn,flash2
hsa-compiler bench --suite ratio --rows r4-d128-k16-l32k,r1-d64-k8-l1k --seconds 2
hsa-compiler bench --suite paper --rows L=4096,Hq=16,H=2,D=64,S=64,K=16,selection=random
hsa-compiler bench --suite retrieval --peer published.py:kernel --out results --json
hsa-compiler bench --plot results/paper.json              # the plot alone, from an earlier run
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsa_compiler.cli.model_commands import pick_device
from hsa_compiler.cli.output import print_json, print_table
from hsa_compiler.errors import InputError, NoPlot
from hsa_compiler.folders import checkout_folder

if TYPE_CHECKING:
    from hsa_compiler.benchmarks.peers import Peer
    from hsa_compiler.benchmarks.results import Result


def bench(
    suite: Annotated[
        str,
        typer.Option(
            help="paper (the project's targets), ratio (head ratios, head dims, top-k and "
            "lengths), crossover (whole steps, 1K to 32K tokens), memory (whole steps, up to 512K "
            "tokens), decode (one token, up to 16M keys), retrieval (retrieval alone), cpu "
            "(attention at head ratios and lengths for a CPU) or train (a model's training steps, "
            "on a CPU)."
        ),
    ] = "paper",
    rows: Annotated[
        list[str] | None,
        typer.Option(
            help="Rows by name, separated by commas, or a shape such as "
            "L=8192,Hq=16,H=1,D=64,S=64,K=16,selection=random; may be given several times. all "
            "for every row of the suite; by default those meant for this kind of device."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    peers: Annotated[
        str,
        typer.Option(
            help="Whom to compare with: all, none, or some of cudnn, flash2, flex, chunk_major, "
            "torch, deterministic, tvm, reference, separated by commas."
        ),
    ] = "all",
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="An outside kernel: FILE:FUNCTION, an adapter as benchmarks/outside.py "
            "describes; may be given several times."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the results; by default benchmarks/results/DEVICE in a checkout."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Time for each measurement; slow calls take longer.")
    ] = 1.0,
    compile_workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that compile our kernels, a row each, before anything is timed; by "
            "default one per usable CPU, 0 to compile each kernel at its first launch.",
            min=0,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Measure nothing: draw the plot of this earlier result (JSON) beside it, say on "
            "a machine that has matplotlib."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result on stdout as JSON; progress on stderr.")
    ] = False,
) -> None:
    """Time this project's kernels beside their peers and write the results."""
    from hsa_compiler.benchmarks.outside import Outside
    from hsa_compiler.benchmarks.rows import find_suite, parse_rows
    from hsa_compiler.benchmarks.session import Request, run
    from hsa_compiler.threads import usable_cpus

    if plot is not None:
        redraw(plot)
        return
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"--seconds {seconds}: give a number above 0")
    where = pick_device(device)
    chosen = find_suite(suite)
    strangers = tuple(Outside.parse(text) for text in dict.fromkeys(peer or []))
    shipped = pick_peers(peers)
    names = [p.name for p in shipped] + [p.name for p in strangers]
    if len(set(names)) < len(names) or "ours" in names:
        raise InputError(f"--peer: the functions must have names of their own, got {names}")
    request = Request(
        suite=chosen,
        rows=tuple(parse_rows(chosen, rows or [], where.partition(":")[0])),
        device=where,
        peers=shipped,
        outside=strangers,
        seconds=seconds,
        folder=out if out is not None else default_folder(where),
        workers=usable_cpus() if compile_workers is None else compile_workers,
    )
    result = run(request, lambda line: typer.echo(line, err=True))
    if as_json:
        print_json(result.to_json())
    else:
        print_result(result)
    save_plot(result, request.folder)
    if not result.ok:
        raise typer.Exit(1)


def pick_peers(text: str) -> tuple[Peer, ...]:
    """``all``, ``none`` or names. Raises InputError."""
    from hsa_compiler.benchmarks.peers import PEERS

    names = [name.strip() for name in text.split(",") if name.strip()]
    if names in (["all"], ["none"]):
        return tuple(PEERS.values()) if names == ["all"] else ()
    unknown = [name for name in names if name not in PEERS]
    if unknown or not names:
        raise InputError(
            f"--peers {text!r}: give all, none, or some of {', '.join(PEERS)} "
            "(--peer FILE:FUNCTION adds one of your own)"
        )
    return tuple(PEERS[name] for name in dict.fromkeys(names))


def default_folder(device: str) -> Path:
    """The device's folder in a checkout's ``benchmarks/results``. Raises InputError elsewhere."""
    from hsa_compiler.schedules.hardware import detect

    root = checkout_folder()
    if root is None:
        raise InputError("--out: this is no checkout, so say where the results go: --out DIR")
    return root / "benchmarks" / "results" / detect(device).slug


def print_result(result: Result) -> None:
    """The tables of a result, and what its peers compute."""
    from hsa_compiler.benchmarks import report

    print_table(f"{result.suite} on {result.device['name']}", report.rows_table(result), False)
    print_table(
        "Times: median ± interquartile range in ms; peers in ms and, in brackets, their time over "
        "ours; the roofline of backward counts 5 and 7 products",
        report.times_table(result),
        False,
        empty="Nothing was measured.",
    )
    print_table(
        "Our kernels by themselves", report.kernels_table(result), False, empty="No kernel."
    )
    failures = report.failures_table(result)
    if failures:
        print_table("Not measured", failures, False)
    behind = report.gaps_table(result)
    if behind:
        print_table("Far behind a neighbouring shape", behind, False)
    for name, label in result.peers.items():
        typer.echo(f"{name}: {label}")
    for note in result.notes:
        typer.echo(f"note: {note}")


def redraw(path: Path) -> None:
    """Draw the plot of a result's file beside it. Exit code 1 where it cannot be drawn."""
    from hsa_compiler.benchmarks.report import plot as draw
    from hsa_compiler.benchmarks.results import read_result

    result = read_result(path)
    try:
        typer.echo(f"wrote {draw(result, path.with_suffix('.png'))}", err=True)
    except NoPlot as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def save_plot(result: Result, folder: Path) -> None:
    """Draw the plot beside the JSON file; without matplotlib, say so."""
    from hsa_compiler.benchmarks.report import plot

    typer.echo(f"wrote {folder / result.suite}.json", err=True)
    try:
        typer.echo(f"wrote {plot(result, folder / f'{result.suite}.png')}", err=True)
    except NoPlot as error:
        typer.echo(str(error), err=True)
