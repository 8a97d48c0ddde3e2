"""``hsa-compiler report``: a tuning study as one HTML page that needs no network.

hsa-compiler report                                 # the studies there are
hsa-compiler report attend/nvidia_h200/a8 --out attend.html
hsa-compiler report nvidia_h200/a8 --storage studies.journal # all kernels at a shape, on one page
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hsa_compiler.cli.output import print_json, print_table
from hsa_compiler.errors import InputError


def report(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY]...",
            help="Names of studies or parts of them; every match goes on the page, of several runs "
            "the newest. Without any, the studies are listed.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="A journal's path or an Optuna storage URL; by default the device's."),
    ] = None,
    device: Annotated[str, typer.Option(help="Whose journal: auto, cpu, cuda or cuda:N.")] = "auto",
    out: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="The file to write; by default one in this folder."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a file that is no report.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show a tuning study as one HTML page that needs no network, or list the studies."""
    import optuna

    from hsa_compiler.errors import NoPlot
    from hsa_compiler.folders import require_writable
    from hsa_compiler.report.find import find_studies, list_studies
    from hsa_compiler.report.page import check_free, default_path, render, write_page
    from hsa_compiler.report.plots import Plots, draw
    from hsa_compiler.report.study import StudyRecord, read_study
    from hsa_compiler.tuner.storage import open_storage

    for option, given in (("--out", out), ("--storage", storage)):
        if given is not None and not given.strip():
            raise InputError(f"{option} is empty: give a path, or leave the option out")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where = storage or journal_of(device)
    opened = open_storage(where, to_read=True)
    if not studies:
        rows = [asdict(listed) for listed in reversed(list_studies(opened))]
        print_table(f"studies in {where}", rows, as_json, empty=f"{where} holds no study")
        return
    names = find_studies(opened, studies)
    path = default_path(names) if out is None else Path(out).expanduser()
    check_free(path, force)
    require_writable("--out", path.parent, "give another folder")
    pages: list[tuple[StudyRecord, Plots | str]] = []
    for name in names:
        record = read_study(name, optuna.load_study(study_name=str(name), storage=opened))
        try:
            pages.append((record, draw(record)))
        except NoPlot as error:
            pages.append((record, str(error)))
    write_page(path, render(pages))
    if as_json:
        print_json({"file": str(path), "studies": [str(name) for name in names]})
        return
    for remark in dict.fromkeys(plots for _, plots in pages if isinstance(plots, str)):
        typer.echo(remark, err=True)
    typer.echo(f"wrote {path}: {', '.join(map(str, names))}")


def journal_of(device: str) -> str:
    """The journal of a device given as on the command line."""
    from hsa_compiler.cli.model_commands import pick_device
    from hsa_compiler.schedules.hardware import detect
    from hsa_compiler.tuner.storage import default_journal

    return str(default_journal(detect(pick_device(device)).slug))
