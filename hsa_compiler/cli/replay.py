"""The `replay` command: searches on a recorded space, without its device.

hsa-compiler replay attend/nvidia_h200/a8 --save attend.json # a study of this machine, into a file
hsa-compiler replay attend.json --samplers tpe,random        # how many trials each of them needs
hsa-compiler replay attend.json --transfer h100.json         # with another device's best first too
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsa_compiler.cli.output import print_json, print_table
from hsa_compiler.errors import InputError

if TYPE_CHECKING:
    import optuna

    from hsa_compiler.schedules.schedule import Schedule
    from hsa_compiler.tuner.recorded import RecordedSpace

#: How near to the best recorded time counts as found.
WITHIN = (0.02, 0.05, 0.10)


def replay(
    which: Annotated[
        str, typer.Argument(help="A file that --save wrote, or a unique part of a study's name.")
    ],
    samplers: Annotated[str, typer.Option(help="Samplers, separated by commas.")] = "tpe,random",
    seeds: Annotated[int, typer.Option(help="Searches of each.", min=1)] = 20,
    trials: Annotated[int, typer.Option(help="Trials of a search at most.", min=1)] = 200,
    transfer: Annotated[
        list[Path] | None,
        typer.Option(help="Recorded spaces of other devices or shapes, whose best come first."),
    ] = None,
    first: Annotated[int, typer.Option(help="How many of each of those.", min=1)] = 3,
    blind: Annotated[
        bool,
        typer.Option(
            "--blind",
            help="Start from the generic default alone: without the cost model's candidates and "
            "the winners of other devices and shapes.",
        ),
    ] = False,
    storage: Annotated[
        str | None, typer.Option(help="Where studies are; by default this machine's journal.")
    ] = None,
    save: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write the recorded space to a file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare searches on a recorded space: trials until they are near the best known schedule."""
    import optuna

    from hsa_compiler.runtime.validate import one_of
    from hsa_compiler.tuner.recorded import RecordedSpace, trials_to
    from hsa_compiler.tuner.recorded import replay as run
    from hsa_compiler.tuner.samplers import SAMPLERS

    for option, given in (("--storage", storage), ("--save", save)):
        if given is not None and not given.strip():
            raise InputError(f"{option} is empty: give a path, or leave the option out")
    names = list(dict.fromkeys(name.strip() for name in samplers.split(",") if name.strip()))
    if not names:
        raise InputError(f"--samplers {samplers!r} names none: choose from {', '.join(SAMPLERS)}")
    for name in names:
        one_of("--samplers", name, tuple(SAMPLERS))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if Path(which).is_file():
        if storage is not None:
            raise InputError(f"{which} is a file, not in a --storage: leave that option out")
        recorded = RecordedSpace.read(Path(which))
    else:
        recorded = RecordedSpace.of(_study(which, storage))
    seeding = [schedule for path in transfer or () for schedule in _best(path, recorded, first)]
    if transfer and not seeding:
        raise InputError("--transfer: none of their schedules was measured in this space")
    if save is not None:
        recorded.write(Path(save))
    rows = []
    for name in names:
        for label, before in ((name, ()), *([(f"{name}, transferred", seeding)] * bool(seeding))):
            curves = [run(recorded, name, seed, trials, before, blind) for seed in range(seeds)]
            found = {f"within {x:.0%}": _number(trials_to(curves, x)) for x in WITHIN}
            end = sorted(curve[-1] for curve in curves)[len(curves) // 2]
            label += ", blind" * blind
            rows.append({"search": label, **found, f"best after {trials}": _number(round(end, 4))})
    if as_json:
        print_json(rows)
        return
    print_table(
        f"{recorded.kernel} {recorded.about['shape']['name']} on "
        f"{recorded.about['device']}, {len(recorded.times)} schedules: median trials of "
        f"{seeds} searches",
        rows,
        as_json,
    )


def _number(trials: float) -> float | str:
    return "never" if math.isinf(trials) else trials


def _best(path: Path, recorded: RecordedSpace, count: int) -> list[Schedule]:
    """The fastest schedules of another recorded space that this one knows."""
    from hsa_compiler.tuner.recorded import RecordedSpace

    other = RecordedSpace.read(path)
    if other.kernel != recorded.kernel:
        raise InputError(f"--transfer {path}: is of {other.kernel}, not of {recorded.kernel}")
    return [s for s in other.best(len(other.times)) if s in recorded.times][:count]


def _study(word: str, storage: str | None) -> optuna.Study:
    """The one study that has `word` in its name."""
    import optuna

    from hsa_compiler.cli.report import journal_of
    from hsa_compiler.report.find import find_studies
    from hsa_compiler.tuner.storage import open_storage

    opened = open_storage(storage or journal_of("auto"), to_read=True)
    found = find_studies(opened, [word])
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise InputError(f"{word!r} is in the names of {len(found)} studies: {names}")
    return optuna.load_study(study_name=str(found[0]), storage=opened)
