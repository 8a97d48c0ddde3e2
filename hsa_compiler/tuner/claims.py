"""Who works on what in a study: processes claim trials, or conduct it, as long as they live."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

#: A process says this often that it works on a trial. Other machines, which cannot ask for it, give
#: the trial up after `STALE_SECONDS` without a word; their clocks may differ by as much.
BEAT_SECONDS, STALE_SECONDS = 20.0, 180.0
#: Births of one process, told at different times, differ by less.
SAME_SECONDS = 5.0
#: Marks a trial whose point another process was evaluating already.
GIVEN_WAY = "given_way"


def keep_open(study: optuna.Study) -> None:
    """Say, again and again, that this process conducts the study and others may add trials."""
    study.set_user_attr("open", {"owner": owner_stamp(), "beat": time.time()})


def close_study(study: optuna.Study) -> None:
    """Say that no more trials are wanted."""
    study.set_user_attr("open", None)


def is_open(study: optuna.Study) -> bool:
    """Whether a process conducts the study, and lives."""
    told = study.user_attrs.get("open")
    return told is not None and lives(told["owner"], told["beat"], time.time())


def begin_trial(
    study: optuna.Study,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    attrs: Mapping[str, Any],
) -> tuple[int, int]:
    """Make a RUNNING trial with everything that is known of it: its id and its number.

    In one step of the storage: `Study.ask` makes an empty trial first, and whoever reads the study
    in between, or after a kill, cannot tell what it is.
    """
    template = create_trial(
        state=TrialState.RUNNING,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs=dict(attrs),
    )
    storage = study._storage
    trial_id = storage.create_new_trial(study._study_id, template_trial=template)
    return trial_id, storage.get_trial_number_from_id(trial_id)


def set_attr(study: optuna.Study, trial_id: int, name: str, value: Any) -> None:
    """Set a user attribute of a running trial."""
    study._storage.set_trial_user_attr(trial_id, name, value)


def owner_stamp() -> dict[str, Any]:
    """Who evaluates a trial: host, process and its start time (a process id may be reused)."""
    return {
        "host": _machine(),
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
    }


@functools.cache
def _machine() -> str:
    """A name under which process ids mean the same: containers and clones share host names."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def lives(owner: Mapping[str, Any], beat: float, now: float) -> bool:
    """Whether a process works on something, by its stamp and when it last said so."""
    if owner.get("host") != _machine():
        return now - beat <= STALE_SECONDS
    try:
        process = psutil.Process(owner["pid"])
        # The system's clock may have been set since.
        same = abs(process.create_time() - owner["born"]) < SAME_SECONDS
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def is_stale(trial: FrozenTrial, now: float) -> bool:
    """Whether a RUNNING trial was left behind by a process that no longer lives."""
    if trial.state is not TrialState.RUNNING:
        return False
    started = trial.datetime_start
    beat = trial.user_attrs.get("beat", started.timestamp() if started else 0.0)
    return not lives(trial.user_attrs.get("owner") or {}, float(beat), now)
