"""Which architectures a search may choose from: chunk sizes x top-k x retrieval heads.

These change the result, unlike schedules: each has a latency of its own and a quality of its own.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna import Trial

from hsa_compiler.benchmarks.rows import Row
from hsa_compiler.errors import InputError
from hsa_compiler.model.config import HSAConfig, preset
from hsa_compiler.runtime import validate
from hsa_compiler.tuner.shapes import Shape

#: What is timed, and scored by recall, is retrieval with these options of a model.
PLAIN = {"normalize": "softmax", "rank_scale": False, "window_aware": False}


@dataclass(frozen=True)
class Point:
    """One architecture: S, K and Hr."""

    chunk_size: int
    top_k: int
    retrieval_heads: int

    @property
    def name(self) -> str:
        """``S64-K16-Hr1``: of its trial, and of its file where it is on the front."""
        return f"S{self.chunk_size}-K{self.top_k}-Hr{self.retrieval_heads}"


@dataclass(frozen=True)
class Space:
    """A grid of architectures around one call and one model, whose own S, K and Hr do not count.

    Raises InputError for an axis without values or with one that no architecture may have, for a
    model whose retrieval is not the plain one that is measured, and where no combination is legal.
    """

    shape: Shape
    base: HSAConfig
    chunk_sizes: tuple[int, ...]
    top_ks: tuple[int, ...]
    retrieval_heads: tuple[int, ...]

    def __post_init__(self) -> None:
        Row("pareto", self.shape)  # refuses what cannot be timed
        for name, plain in PLAIN.items():
            if (given := getattr(self.base, name)) != plain:
                raise InputError(
                    f"the model has {name} = {given!r}: only {plain!r} is measured; give another"
                )
        for name, values in self._axes.items():
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name} = {list(values)}: give at least one value, each once")
            for value in values:
                validate.at_least(name, value, 1)
        for size in self.chunk_sizes:
            validate.chunk_size(size)
        if not self.points:
            reasons = "; ".join(f"{reason} ({n})" for reason, n in self.illegal.items())
            raise InputError(f"no combination is legal: {reasons}")

    @property
    def _axes(self) -> dict[str, tuple[int, ...]]:
        return {
            "chunk_size": self.chunk_sizes,
            "top_k": self.top_ks,
            "retrieval_heads": self.retrieval_heads,
        }

    @cached_property
    def _reasons(self) -> dict[Point, str | None]:
        grid = (Point(*values) for values in itertools.product(*self._axes.values()))
        return {point: self._reason(point) for point in grid}

    @property
    def points(self) -> list[Point]:
        """The legal points."""
        return [point for point, reason in self._reasons.items() if reason is None]

    @property
    def illegal(self) -> dict[str, int]:
        """How many points each reason pruned, most first."""
        reasons = (reason for reason in self._reasons.values() if reason is not None)
        return dict(Counter(reasons).most_common())

    def _reason(self, point: Point) -> str | None:
        """Why a point is no architecture for the call; None where it is one."""
        keys = self.shape.Lkv
        if keys % point.chunk_size:
            return f"chunk_size={point.chunk_size} does not divide the {keys} keys"
        if point.top_k > keys // point.chunk_size:
            return (
                f"top_k={point.top_k} is more than the {keys // point.chunk_size} chunks of "
                f"{point.chunk_size} tokens"
            )
        try:
            self.shape_of(point)
            self.model_of(point)
        except InputError as error:
            return str(error)
        return None

    def shape_of(self, point: Point) -> Shape:
        """The call that is timed for a point."""
        return self.shape.resized(
            name=point.name,
            S=point.chunk_size,
            K=point.top_k,
            Hr=point.retrieval_heads,
            Hm=0,
            Hi=0,
            Hw=0,
        )

    def model_of(self, point: Point) -> HSAConfig:
        """The model of a point."""
        return dataclasses.replace(
            self.base,
            chunk_size=point.chunk_size,
            top_k=point.top_k,
            retrieval_heads=point.retrieval_heads,
            weight_heads="query" if point.retrieval_heads > self.shape.H else "kv",
        )

    def suggest(self, trial: Trial) -> Point:
        """What an Optuna trial proposes, legal or not: a place on each axis, as all are ordinal."""
        return Point(
            **{
                name: values[trial.suggest_int(name, 0, len(values) - 1)]
                for name, values in self._axes.items()
            }
        )

    def encode(self, point: Point) -> dict[str, int]:
        """The Optuna parameters of a point."""
        return {name: values.index(getattr(point, name)) for name, values in self._axes.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain values: the call, the model and the grid."""
        searched = ("name", "S", "K", "Hr", "Hm", "Hi", "Hw")
        shape = dataclasses.asdict(self.shape)
        return {
            "shape": {name: value for name, value in shape.items() if name not in searched},
            "model": dataclasses.asdict(self.base),
            **self._axes,
        }


def small_model(shape: Shape) -> HSAConfig:
    """The preset `tiny` with the heads of a call."""
    return dataclasses.replace(
        preset("tiny"),
        heads=shape.Hq,
        head_dim=shape.D,
        window_kv_heads=shape.H,
        hsa_kv_heads=shape.H,
        retrieval_heads=1,
        retrieval_dim=shape.Dr,
    )
