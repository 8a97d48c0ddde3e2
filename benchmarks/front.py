"""What an architecture search found, as frozen records, its JSON file, its table and its picture.

    OUT/pareto.json ::= Front(schema_version, date, device, versions, settings, quality, points,
                              illegal, failures, untried)
    OUT/pareto.png          every point, and the front as a line
    OUT/models/POINT.json   the model of each point on the front: `hsa-compiler train --config`

Times are milliseconds. Only times of one file are comparable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import create_trial

from hsa_compiler.benchmarks.report import new_figure
from hsa_compiler.benchmarks.results import make_folder, replacing
from hsa_compiler.errors import NoPlot
from hsa_compiler.model.config import HSAConfig

SCHEMA_VERSION = 1
FILE, PLOT, MODELS = "pareto.json", "pareto.png", "models"
#: A point races in the end where no other of its quality is faster by this ratio, the nearest first
#: and so many at most.
NEAR, FINALISTS = 1.5, 16
#: Milliseconds and quality.
Objectives = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """One architecture.

    Attributes:
        point: its name.
        latency_ms, spread_ms: median and interquartile range of `samples` calls.
        quality: as the front's `quality` defines it.
        raced: timed against the other finalists, not when its turn in the search came.
        schedules: by kernel, what it ran with and the config tier that gave it.
        on_front: no other point (no other finalist, after a race) is at least as good in both and
            better in one.
        model: what `HSAConfig.from_dict` reads.
    """

    point: str
    chunk_size: int
    top_k: int
    retrieval_heads: int
    latency_ms: float
    spread_ms: float
    samples: int
    quality: float
    raced: bool
    schedules: dict[str, str]
    on_front: bool
    model: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A legal point that could not be measured; `kind` as the tuner counts failures."""

    point: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Front:
    """A search so far: points by latency, how many combinations each reason made illegal, and how
    many legal ones were not tried."""

    date: str
    device: dict[str, Any]
    versions: dict[str, Any]
    settings: dict[str, Any]
    quality: dict[str, Any]
    points: tuple[Measured, ...]
    illegal: dict[str, int]
    failures: tuple[Failure, ...]
    untried: int
    schema_version: int = field(default=SCHEMA_VERSION)

    @property
    def best(self) -> tuple[Measured, ...]:
        """The points on the front, fastest first."""
        return tuple(point for point in self.points if point.on_front)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        data = asdict(self)
        return {"schema_version": data.pop("schema_version"), **data}

    def write(self, folder: Path) -> Path:
        """Replace ``pareto.json`` and the front's models in an existing folder.

        Models of an earlier front are removed. Raises InputError where something cannot be
        written.
        """
        models = folder / MODELS
        path = folder / FILE
        texts = {models / f"{m.point}.json": _text(m.model) for m in self.best}
        texts[path] = _text(self.to_json())
        make_folder(models)
        for target, text in texts.items():
            with replacing(target) as temporary:
                temporary.write_text(text, encoding="utf-8")
        for old in models.glob("S*-K*-Hr*.json"):
            if old not in texts:
                old.unlink()
        return path

    def table(self) -> list[dict[str, Any]]:
        """One line per point on the front."""
        return [
            {
                "chunk_size": m.chunk_size,
                "top_k": m.top_k,
                "retrieval_heads": m.retrieval_heads,
                "latency_ms": f"{m.latency_ms:.4g} ± {m.spread_ms:.2g}",
                self.quality["measure"]: m.quality,
            }
            for m in self.best
        ]

    def plot(self, folder: Path) -> Path:
        """Draw ``pareto.png``. Raises NoPlot where matplotlib is missing or nothing was measured,
        InputError where it cannot be written."""
        if not self.points:
            raise NoPlot("no plot: nothing was measured")
        figure = new_figure(7.5, 5.0)
        axes = figure.add_subplot()
        others = [m for m in self.points if not m.on_front]
        axes.scatter(
            [m.latency_ms for m in others],
            [m.quality for m in others],
            color="0.6",
            label="other architectures",
        )
        axes.errorbar(
            [m.latency_ms for m in self.best],
            [m.quality for m in self.best],
            xerr=[m.spread_ms / 2 for m in self.best],
            capsize=2,
            color="C0",
            marker="o",
            label="front",
        )
        for m in self.best:
            axes.annotate(m.point, (m.latency_ms, m.quality), fontsize="x-small")
        axes.set_xscale("log")
        axes.set_xlabel("ms")
        axes.set_ylabel(self.quality["measure"])
        axes.grid(True, which="both", alpha=0.3)
        axes.legend(fontsize="small")
        figure.suptitle(f"{self.device['name']}, {self.date[:10]}")
        path = folder / PLOT
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
        return path


def _text(data: Any) -> str:
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def as_config_file(model: HSAConfig) -> dict[str, Any]:
    """What `HSAConfig.load` reads, decoded."""
    body: dict[str, Any] = json.loads(model.to_json())
    return body


def non_dominated(points: Mapping[str, Objectives], direction: StudyDirection) -> set[str]:
    """The points that no other beats: at least as good in both objectives and better in one."""
    study = optuna.create_study(directions=(StudyDirection.MINIMIZE, direction))
    for name, values in points.items():
        study.add_trial(create_trial(values=values, user_attrs={"point": name}))
    return {trial.user_attrs["point"] for trial in study.best_trials}


def finalists(points: Mapping[str, Objectives], direction: StudyDirection) -> list[str]:
    """The points that are not much slower than every other of their quality, the nearest first."""
    sign = 1 if direction is StudyDirection.MAXIMIZE else -1

    def behind(name: str) -> float:
        ms, quality = points[name]
        return ms / min(other for other, good in points.values() if sign * (good - quality) >= 0)

    near = {name: ratio for name in points if (ratio := behind(name)) < NEAR}
    return sorted(near, key=near.__getitem__)[:FINALISTS]
