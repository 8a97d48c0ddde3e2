"""``hsa-compiler plan``: what the cost model expects on a device that need not be here.

hsa-compiler plan --target sm_100 --shapes a8,g4
hsa-compiler plan --target nvidia_l40s --kernels attend,retrieve --top 5 --compile
hsa-compiler plan --check                     # the model against recorded measurements
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hsa_compiler.cli.output import print_json, print_table
from hsa_compiler.configs import packaged_folder
from hsa_compiler.errors import InputError
from hsa_compiler.folders import checkout_folder


def plan(
    target: Annotated[
        str,
        typer.Option(
            help="A GPU architecture (sm_80, sm_89, sm_90, sm_100), a device by the slug of its "
            "hardware row such as nvidia_l40s, cpu (this machine's), or cpu:NAME[:THREADS] to "
            "compile for another CPU, ranked as this one."
        ),
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
    kernels: Annotated[
        str, typer.Option(help="Kernels to plan, separated by commas; all of them by default.")
    ] = "",
    top: Annotated[int, typer.Option(help="How many of the best to list.", min=1)] = 3,
    union: Annotated[
        float | None,
        typer.Option(
            help="Chunks in the union of 16 neighbouring tokens, over top-k; by default what "
            "neighbours agree on in trained models."
        ),
    ] = None,
    compiles: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile what is listed for the target, without running it: exit code 1 where "
            "one cannot be built.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="How well the model ranked schedules that were measured."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Rank schedules for a device that need not be here, by the cost model."""
    if check:
        if target or shapes or kernels or union is not None or compiles:
            raise InputError(
                "--check looks at everything that was recorded: leave --target, --shapes, "
                "--kernels, --union and --compile out"
            )
        print_agreement(as_json)
        return
    from hsa_compiler.planning.compiled import build_all
    from hsa_compiler.planning.forecast import forecast, resolve
    from hsa_compiler.planning.report import record
    from hsa_compiler.schedules.locality import GROUP
    from hsa_compiler.tuner.session import Request
    from hsa_compiler.tuner.shapes import parse_kernels, parse_shapes
    from hsa_compiler.tuner.worker import CandidateFailed

    if not target.strip():
        raise InputError(
            "--target is missing: give an architecture such as sm_90, a device such as "
            "nvidia_l40s, or cpu"
        )
    if union is not None and not 0 < union <= GROUP:
        raise InputError(f"--union {union:g}: give a number above 0, at most {GROUP}")
    where, row = resolve(target.strip())
    chosen = tuple(parse_shapes(shapes or [], row.kind))
    tasks = Request(device=row.kind, shapes=chosen, kernels=parse_kernels(kernels)).tasks()
    found = [forecast(task, where, row, top, union) for task in tasks]
    built = build_all(found, where, row) if compiles else {}
    records = [record(each, built) for each in found]
    if as_json:
        print_json({"target": str(where), "device": row.name, "kernels": records})
    else:
        for shape in dict.fromkeys(each["shape"] for each in records):
            of_shape = [each for each in records if each["shape"] == shape]
            print_plan(f"{shape} for {where} ({row.name})", of_shape, compiles)
    if any(isinstance(outcome, CandidateFailed) for outcome in built.values()):
        raise typer.Exit(1)


def print_plan(title: str, records: Sequence[dict[str, Any]], compiles: bool) -> None:
    """The tables of one shape."""
    from hsa_compiler.planning import report

    print_table(title, report.schedule_rows(records), False, empty="No schedule fits.")
    if compiles:
        print_table("Compiled, by launch", report.compiled_rows(records), False)
    print_table("Not ranked", report.refusal_rows(records), False, empty="All are ranked.")
    for each in records:
        if each["no_generic"]:
            typer.echo(f"{each['kernel']}: no generic schedule, {each['no_generic']}")


def print_agreement(as_json: bool) -> None:
    """How the model's order agrees with what was measured, by device, file, step and kernel."""
    from hsa_compiler.benchmarks.rank import agreement

    root = checkout_folder()
    found = agreement(root and root / "benchmarks" / "results", packaged_folder())
    if as_json:
        print_json(found)
        return
    print_table(
        "The cost model against measured schedules: Spearman's rho (median, least), and the "
        "measured time of its first choice over the best (geometric mean, worst)",
        found["agreement"],
        False,
    )
    print_table("Recorded", found["recorded"], False)
    for note in found["notes"]:
        typer.echo(note)
