"""The page of one or more studies: its text from a template that escapes, and its file."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hsa_compiler import __version__
from hsa_compiler.errors import InputError, WriteError
from hsa_compiler.folders import write_whole
from hsa_compiler.report.device import device
from hsa_compiler.report.plots import Plots
from hsa_compiler.report.study import ENOUGH_FOR_IMPORTANCE, StudyRecord
from hsa_compiler.tuner.storage import StudyName
from hsa_compiler.tuner.ui import milliseconds, summary

#: Candidates in the table of the fastest.
FASTEST = 20
#: How every page begins: what may be overwritten without asking.
MARK = "<!DOCTYPE html>\n<!-- hsa-compiler report -->\n"


def default_path(names: Sequence[StudyName]) -> Path:
    """The file that a page gets in the current folder when nobody names one."""
    if len(names) > 1:
        return Path("report.html")
    (name,) = names
    return Path(f"report-{name.kernel}-{name.device}-{name.problem}-{name.run}.html")


def check_free(path: Path, force: bool) -> None:
    """Raise InputError unless a page may be written to `path`.

    An earlier page is overwritten; `force` overwrites any file, never what is no file.
    """
    try:
        if not path.exists():
            return
        if not path.is_file():
            raise InputError(f"--out {path} is no file: give the path of one")
        if force:
            return
        with path.open("rb") as file:
            start = file.read(len(MARK))
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror}: give another path") from error
    if start != MARK.encode():
        raise InputError(
            f"--out {path} is there and no report of a study: give another path, or --force"
        )


def write_page(path: Path, text: str) -> None:
    """Write the file in one step. Raises WriteError where that fails."""
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise WriteError(f"--out {path}: cannot be written: {error.strerror or error}") from error


def render(studies: Sequence[tuple[StudyRecord, Plots | str]]) -> str:
    """The page's text. Beside each study stand its plots, or why there are none."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(device=device, ms=milliseconds, state=state)
    page = environment.get_template("page.html").render(
        studies=studies,
        made=datetime.datetime.now().isoformat(" ", "minutes"),
        version=__version__,
        most=FASTEST,
        enough=ENOUGH_FOR_IMPORTANCE,
    )
    return MARK + page


def state(record: StudyRecord) -> str:
    """How far a study has come, in a sentence."""
    if record.result is not None:
        return summary(record.result)
    if record.running:
        return f"At work, candidates in flight: {record.running}; no verdict yet."
    if record.failed:
        return f"Ended without a verdict: {record.failed}"
    if not record.trials:
        return "No candidate has been tried: the run was stopped before, or has just begun."
    return (
        "No verdict: the run was stopped before its race, or is at work between two candidates. "
        "hsa-compiler autotune --resume goes on."
    )
