"""Optuna studies on disk: a journal file that survives `kill -9`, or any Optuna storage URL.

A study is named ``<kernel>/<device>/<shape class>/<selection>/<problem hash>`` plus a run number:
a new run never mixes its trials with those of an earlier one unless it is told to resume it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
from filelock import FileLock
from optuna.exceptions import DuplicatedStudyError, OptunaError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from hsa_compiler.errors import InputError

#: A RUNNING trial of another machine, whose process cannot be asked, is stale after this long.
STALE_SECONDS = 3600.0
#: How every record of a journal begins; fewer bytes are what a kill left of the first one.
JOURNAL_START = b'{"op_code":'


class JournalLock:
    """The journal's lock as an operating-system file lock.

    The kernel releases it when its holder dies; Optuna's own lock files outlive a `kill -9` and
    stall the next run for their grace period.
    """

    def __init__(self, journal: Path) -> None:
        self._lock = FileLock(f"{journal}.flock")

    def acquire(self) -> bool:
        """Block until this process holds the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Let go of the lock."""
        self._lock.release()


def open_storage(spec: str) -> BaseStorage:
    """A storage from a journal's path, ``journal://PATH`` or any URL that Optuna takes.

    Raises InputError when the journal's folder cannot be made, the URL is refused, or what is
    there already is no journal or a damaged one; such a file is left as it is.
    """
    if "://" in spec and not spec.startswith("journal://"):
        try:
            return optuna.storages.get_storage(spec)
        except (ValueError, ImportError, RuntimeError, OptunaError, SQLAlchemyError) as err:
            raise InputError(f"--storage {spec!r}: {err}") from err
    path = Path(spec.removeprefix("journal://")).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        require_journal(path, spec)
        lock = JournalLock(path)
        drop_torn_line(path, lock)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # type: ignore[arg-type]
    except InputError:
        raise
    except OSError as err:
        raise InputError(f"--storage {spec!r}: cannot open the journal: {err}") from err
    except (ValueError, LookupError, TypeError, AssertionError, OptunaError) as err:
        # What Optuna's replay meets in a record that is damaged, or missing before this one.
        raise InputError(
            f"--storage {spec!r}: the journal is damaged ({type(err).__name__}: {err}); move the "
            "file away to start anew, or name another one"
        ) from err


def require_journal(path: Path, spec: str) -> None:
    """Raise InputError unless the file is absent, empty or starts as Optuna's journals do.

    Comes before anything is written: the repair of a torn line would cut off the end of a user's
    own file, and a run would append to it.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"--storage {spec!r} is not a file: give a journal's path or a URL")
    with path.open("rb") as file:
        head = file.read(len(JOURNAL_START))
    if not JOURNAL_START.startswith(head):
        raise InputError(
            f"--storage {spec!r} is a file of something else, not Optuna's journal: give the path "
            "of a journal or of a new file"
        )


def drop_torn_line(path: Path, lock: JournalLock) -> None:
    """Cut off a last line without a line break: the rest of a write that a kill interrupted.

    The next append would otherwise glue a valid record to it and make the journal unreadable.
    """
    if not path.exists():
        return
    lock.acquire()
    try:
        with path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            keep = end
            while keep > 0:
                start = max(0, keep - 65536)
                file.seek(start)
                at = file.read(keep - start).rfind(b"\n")
                if at >= 0:
                    keep = start + at + 1
                    break
                keep = start
            if keep < end:
                file.truncate(keep)
    finally:
        lock.release()


@dataclass(frozen=True)
class OpenedStudy:
    """A study, and what was found of earlier runs: `earlier` is the finished trials of the newest
    run that was left alone (0 when there is none or it is continued)."""

    study: optuna.Study
    resumed: bool
    earlier: int


def open_study(storage: BaseStorage, base: str, resume: bool) -> OpenedStudy:
    """Open run n of `base` to resume it, or start run n + 1.

    A plain second `autotune` starts anew, because compilers and drivers change between runs; only
    `resume` continues the newest run. Nothing is ever deleted.
    """
    runs = sorted(
        (run, name)
        for name in optuna.get_all_study_names(storage)
        if (run := _run_number(name, base)) is not None
    )
    if resume and runs:
        return OpenedStudy(optuna.load_study(study_name=runs[-1][1], storage=storage), True, 0)
    earlier = 0
    if runs:
        last = optuna.load_study(study_name=runs[-1][1], storage=storage)
        earlier = sum(trial.state.is_finished() for trial in last.get_trials(deepcopy=False))
    number = runs[-1][0] + 1 if runs else 1
    while True:
        try:
            study = optuna.create_study(study_name=f"{base}#{number}", storage=storage)
        except DuplicatedStudyError:  # by another process, since the names were read
            if resume:
                return open_study(storage, base, resume)
            number += 1
        else:
            return OpenedStudy(study, False, earlier)


def _run_number(name: str, base: str) -> int | None:
    head, _, number = name.rpartition("#")
    return int(number) if head == base and number.isdigit() else None


def owner_stamp() -> dict[str, Any]:
    """Who evaluates a trial: host, process and its start time (a process id may be reused)."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
    }


def is_stale(trial: FrozenTrial, now: float) -> bool:
    """Whether a RUNNING trial was left behind by a process that no longer lives."""
    if trial.state is not TrialState.RUNNING:
        return False
    owner = trial.user_attrs.get("owner")
    if not isinstance(owner, dict) or owner.get("host") != socket.gethostname():
        started = trial.datetime_start
        return started is None or now - started.timestamp() > STALE_SECONDS
    try:
        return bool(psutil.Process(owner["pid"]).create_time() != owner["born"])
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
