"""Against what a stored winner is raced again: the defaults, and the schedules most likely to have
overtaken it."""

from __future__ import annotations

from collections.abc import Iterable

import optuna
from optuna.storages import BaseStorage

from hsa_compiler.configs import Entry
from hsa_compiler.schedules import space
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.export import read_entry
from hsa_compiler.tuner.history import measured
from hsa_compiler.tuner.tune import Plan

#: Runners-up of a winner.
RUNNERS_UP = 4


def rivals_of(
    plan: Plan, winner: Schedule, entry: Entry, storage: BaseStorage | None
) -> dict[Schedule, str]:
    """Schedules to race a winner against, each with its role.

    ``generic`` and ``planned`` are the defaults. The runners-up are ``recorded``, the fastest
    others of the finished studies of the entry's class, or where there are none ``neighbour``, one
    move away from the winner, those first that the cost model holds to be fast.
    """
    found = {plan.generic: "generic"}
    if plan.planned is not None:
        found.setdefault(plan.planned, "planned")
    role, points = "recorded", [] if storage is None else _recorded(plan, entry, storage)
    if not points:
        role, points = "neighbour", plan.rank(plan.space.neighbours(plan.space.normal(winner)))
    others = [point for point in points if point not in found and not _same(plan, point, winner)]
    found |= dict.fromkeys(others[:RUNNERS_UP], role)
    return {point: role for point, role in found.items() if not _same(plan, point, winner)}


def rival_from(plan: Plan, winner: Schedule, entry: Entry, slug: str) -> dict[Schedule, str]:
    """What won on another device, with that device's slug as its role; nothing where it is the
    same kernel."""
    theirs = space.adapted(plan.task.problem, entry.as_schedule())
    return {} if _same(plan, theirs, winner) else {theirs: slug}


def _same(plan: Plan, point: Schedule, winner: Schedule) -> bool:
    """Whether two schedules give one kernel."""
    return plan.space.normal(point) == plan.space.normal(winner)


def _recorded(plan: Plan, entry: Entry, storage: BaseStorage) -> list[Schedule]:
    """Legal candidates of the studies that tuned the entry's class, the fastest first.

    Studies of earlier software count too: their times are only used to choose what is timed anew.
    """
    trials = [
        found
        for study in _studies(plan, entry, storage)
        for trial in study.get_trials(deepcopy=False)
        if (found := measured(trial, plan.space)) is not None
        and plan.space.is_legal(found.schedule)
    ]
    trials.sort(key=lambda trial: trial.median_ms)
    return list(dict.fromkeys(trial.schedule for trial in trials))


def _studies(plan: Plan, entry: Entry, storage: BaseStorage) -> Iterable[optuna.Study]:
    for name in optuna.get_all_study_names(storage):
        if name.startswith(f"{plan.task.kernel}/{plan.hardware.slug}/"):
            study = optuna.load_study(study_name=name, storage=storage)
            try:
                tuned = read_entry(study.user_attrs["done"]["result"]["entry"])
            except (LookupError, TypeError, ValueError):
                continue  # it is not done, or another version wrote it
            if (tuned.shape, tuned.locality.kind) == (entry.shape, entry.locality.kind):
                yield study
