"""How well the cost model ranks schedules: its predictions against recorded times.

Of a group of schedules (`recorded.Group`) two figures: Spearman's rho, the rank correlation of
predicted and measured times, where there are enough of them; and the regret of the model's first
choice among them, its measured time over the best measured, 1 being none.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsa_compiler.benchmarks.recorded import RECORDING, Group, recorded_groups, tuned_groups
from hsa_compiler.configs import Provenance
from hsa_compiler.errors import InputError
from hsa_compiler.schedules import cost_model
from hsa_compiler.schedules.cost_model import Prediction

#: The fewest schedules of a group whose order is compared.
FEWEST = 10


@dataclass(frozen=True)
class Agreement:
    """The groups of one kernel of a device, file and step.

    `rho` and `least_rho` are median and minimum over the groups that have one; `regret` and
    `worst_regret` the geometric mean and the maximum over all.
    """

    device: str
    file: str
    step: int | None
    kernel: str
    groups: int
    schedules: int
    rho: float | None
    least_rho: float | None
    regret: float
    worst_regret: float


def predictions(group: Group) -> list[Prediction]:
    """What the cost model gives each schedule of a group."""
    task = group.task
    todo = cost_model.work(task.problem, task.sizes)
    return [
        cost_model.predict(
            task.problem, schedule, task.sizes, group.device, group.union, group.backend, todo
        )
        for schedule in group.schedules
    ]


def rho(group: Group) -> float:
    """Spearman's rank correlation of a group's predicted and measured times."""
    return spearman([p.seconds for p in predictions(group)], group.times)


def regret(group: Group) -> float:
    """The measured time of the schedule that the model would choose of a group over the best."""
    place = cost_model.place(group.task.problem, group.backend)
    timed = zip(predictions(group), group.times, strict=True)
    _, chosen = min(timed, key=lambda pair: place(pair[0]))
    return chosen / min(group.times)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Rank correlation of two lists, -1 to 1; equal values share their mean rank. 0 where one list
    has no order."""
    ranks = _ranks(first), _ranks(second)
    if min(np.ptp(r) for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def agreements(groups: Iterable[Group]) -> list[Agreement]:
    """One row per device, file, step and kernel."""
    gathered: dict[tuple[str, str, int | None, str], list[Group]] = defaultdict(list)
    for group in groups:
        gathered[group.device.name, group.file, group.step, group.task.kernel].append(group)
    rows = []
    for (device, file, step, kernel), members in gathered.items():
        rhos = [rho(group) for group in members if len(group.times) >= FEWEST]
        regrets = [regret(group) for group in members]
        rows.append(
            Agreement(
                device=device,
                file=file,
                step=step,
                kernel=kernel,
                groups=len(members),
                schedules=sum(len(group.times) for group in members),
                rho=statistics.median(rhos) if rhos else None,
                least_rho=min(rhos, default=None),
                regret=statistics.geometric_mean(regrets),
                worst_regret=max(regrets),
            )
        )
    return rows


def agreement(results: Path | None, configs: Path | None) -> dict[str, Any]:
    """Everything that was recorded in a checkout's ``benchmarks/results`` and in tuned configs;
    None for a folder that is not there.

    Returns:
        plain values: ``agreement``, the rows of `agreements`; ``recorded``, the dates and software
        of each device's files; ``notes`` on what was left out.

    Raises:
        ConfigError: for a file that cannot be read.
        InputError: where nothing is recorded.
    """
    groups, notes = [], []
    for path in sorted(results.glob(f"*/{RECORDING}")) if results else ():
        groups += recorded_groups(path)
    for folder in sorted(configs.iterdir()) if configs else ():
        found, left_out = tuned_groups(folder)
        groups += found
        notes += left_out
    if not groups:
        raise InputError(
            f"--check: neither {results or 'a checkout'} nor {configs or 'tuned configs'} holds "
            "measured schedules: tune some first, with hsa-compiler autotune"
        )
    return {
        "agreement": [asdict(row) for row in agreements(groups)],
        "recorded": _recorded(groups),
        "notes": notes,
    }


def _recorded(groups: Iterable[Group]) -> list[dict[str, str]]:
    found: dict[tuple[str, str], list[Provenance]] = defaultdict(list)
    for group in groups:
        found[group.device.name, group.file].append(group.versions)

    def all_of(values: Iterable[str | None]) -> str:
        return ", ".join(sorted({value for value in values if value}))

    return [
        {
            "device": device,
            "file": file,
            "date": all_of(each.date[:10] for each in versions),
            "torch": all_of(each.torch for each in versions),
            "triton": all_of(each.triton for each in versions),
            "tvm": all_of(each.tvm for each in versions),
            "driver": all_of(each.driver for each in versions),
        }
        for (device, file), versions in found.items()
    ]
