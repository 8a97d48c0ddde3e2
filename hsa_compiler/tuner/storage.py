"""Optuna studies on disk: a journal file that survives `kill -9`, or any Optuna storage URL.

A study is named ``<kernel>/<device>/<shape class>/<selection>/<problem hash>`` plus a run number:
a new run never mixes its trials with those of an earlier one unless it is told to resume it.
"""

from __future__ import annotations

import os
import random
import re
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    OptunaError,
    StorageInternalError,
)
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from hsa_compiler.errors import InputError
from hsa_compiler.folders import cache_folder

#: How often a database is opened before its refusal counts.
OPENINGS = 8
#: Seconds to wait for a proxy.
PROXY_SECONDS = 20
#: How every record of a journal begins; fewer bytes are what a kill left of the first one.
JOURNAL_START = b'{"op_code":'


def studies_folder() -> Path:
    """Where journals are kept when nobody says otherwise."""
    return cache_folder() / "studies"


def default_journal(device: str) -> Path:
    """The journal of a device, given by its slug."""
    return studies_folder() / f"{device}.journal"


@dataclass(frozen=True)
class StudyName:
    """What a study's name says. `problem` is a hash of what must be equal for times to be compared,
    `run` a number from 1."""

    kernel: str
    device: str
    shape: str
    selection: str
    problem: str
    run: int

    @classmethod
    def parse(cls, name: str) -> StudyName | None:
        """Read a name; None for that of a study which is not the tuner's."""
        found = re.fullmatch(r"([^/]+)/([^/]+)/([^/]+)/([^/]+)/([^/#]+)#([1-9][0-9]*)", name)
        if found is None:
            return None
        kernel, device, shape, selection, problem, run = found.groups()
        return cls(kernel, device, shape, selection, problem, int(run))

    def __str__(self) -> str:
        return f"{self.base}#{self.run}"

    @property
    def base(self) -> str:
        """The name without the run's number."""
        return "/".join((self.kernel, self.device, self.shape, self.selection, self.problem))


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


def open_storage(spec: str, to_read: bool = False) -> BaseStorage:
    """A storage from a journal's path, ``journal://PATH``, a database's URL as Optuna takes it
    (``postgresql+psycopg://USER@HOST/NAME``), or ``grpc://HOST:PORT`` of Optuna's proxy.

    With `to_read` it must be there already; a journal is then not changed by a byte.

    Raises InputError when the journal's folder cannot be made, the URL is refused, or what is
    there already is no journal or a damaged one; such a file is left as it is.
    """
    if spec.startswith("grpc://"):
        return _proxy(spec)
    if "://" in spec and not spec.startswith("journal://"):
        try:
            if to_read:
                require_database(spec)
            return _database(spec)
        except InputError:
            raise
        except (ValueError, ImportError, RuntimeError, OptunaError, SQLAlchemyError) as err:
            raise InputError(f"--storage {spec!r}: {err}") from err
    path = Path(spec.removeprefix("journal://")).expanduser()
    try:
        if to_read and not path.exists():
            raise InputError(
                f"{path}: there are no studies yet; `hsa-compiler autotune` makes some"
            )
        require_journal(path, spec)
        lock = JournalLock(path)
        if not to_read:
            path.parent.mkdir(parents=True, exist_ok=True)
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


def _database(spec: str) -> BaseStorage:
    """Open a database; where several processes make its tables at once, all but one are refused and
    find them there a moment later."""
    for left in reversed(range(OPENINGS)):
        try:
            return optuna.storages.get_storage(spec)
        except (IntegrityError, ProgrammingError):
            if not left:
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError("unreachable")


def storage_errors() -> tuple[type[Exception], ...]:
    """What a storage raises once it cannot be written or reached any more."""
    found: tuple[type[Exception], ...] = (OSError, StorageInternalError, SQLAlchemyError)
    if "grpc" in sys.modules:
        found += (sys.modules["grpc"].RpcError,)
    return found


def _proxy(spec: str) -> BaseStorage:
    host, _, port = spec.removeprefix("grpc://").rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--storage {spec!r}: give grpc://HOST:PORT")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
        proxy.wait_server_ready(timeout=PROXY_SECONDS)
    except ImportError as error:
        raise InputError(
            f"--storage {spec!r}: {error}; pip install 'hsa-compiler[fleet]'"
        ) from error
    except OSError as error:
        raise InputError(f"--storage {spec!r}: no proxy answers there ({error})") from error
    return proxy


def require_database(spec: str) -> None:
    """Raise InputError for SQLite's file that is not there: opening would make an empty one."""
    url = make_url(spec)
    file = url.database
    if url.get_backend_name() == "sqlite" and file is not None and not Path(file).exists():
        raise InputError(f"--storage {spec!r}: there is no file {file}; autotune makes one")


def require_storage(spec: str) -> None:
    """Raise InputError for a journal that is none, before anything is made."""
    if "://" not in spec or spec.startswith("journal://"):
        require_journal(Path(spec.removeprefix("journal://")).expanduser(), spec)


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


def open_study(
    storage: BaseStorage,
    base: str,
    resume: bool,
    directions: Sequence[StudyDirection] = (StudyDirection.MINIMIZE,),
) -> OpenedStudy:
    """Open run n of `base` to resume it, or start run n + 1, with one direction per objective.

    A plain second `autotune` starts anew, because compilers and drivers change between runs; only
    `resume` continues the newest run. Nothing is ever deleted.
    """
    runs = _runs(storage, base)
    if resume and runs:
        return OpenedStudy(optuna.load_study(study_name=runs[-1][1], storage=storage), True, 0)
    earlier = 0
    if runs:
        last = optuna.load_study(study_name=runs[-1][1], storage=storage)
        earlier = sum(trial.state.is_finished() for trial in last.get_trials(deepcopy=False))
    number = runs[-1][0] + 1 if runs else 1
    while True:
        try:
            study = optuna.create_study(
                study_name=f"{base}#{number}", storage=storage, directions=directions
            )
        except DuplicatedStudyError:  # by another process, since the names were read
            if resume:
                return open_study(storage, base, resume, directions)
            number += 1
        else:
            return OpenedStudy(study, False, earlier)


def newest_study(storage: BaseStorage, base: str) -> optuna.Study | None:
    """The newest run of `base`; None where there is none."""
    runs = _runs(storage, base)
    return optuna.load_study(study_name=runs[-1][1], storage=storage) if runs else None


def _runs(storage: BaseStorage, base: str) -> list[tuple[int, str]]:
    """Number and name of every run of `base`, the newest last."""
    return sorted(
        (run, name)
        for name in optuna.get_all_study_names(storage)
        if (run := _run_number(name, base)) is not None
    )


def _run_number(name: str, base: str) -> int | None:
    head, _, number = name.rpartition("#")
    return int(number) if head == base and number.isdigit() else None
