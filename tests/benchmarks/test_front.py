"""Which points of an architecture search are on the front, and which race for it."""

from __future__ import annotations

import itertools

from optuna.study import StudyDirection

from hsa_compiler.benchmarks import front
from hsa_compiler.benchmarks.front import finalists, non_dominated

UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE


def test_a_dominated_point_is_not_on_the_front() -> None:
    points = {"fast": (1.0, 0.5), "good": (2.0, 0.9), "worse": (2.0, 0.8), "slower": (3.0, 0.9)}
    assert non_dominated(points, UP) == {"fast", "good"}
    assert non_dominated({n: (ms, -q) for n, (ms, q) in points.items()}, DOWN) == {"fast", "good"}


def test_ties_in_both_are_all_on_the_front() -> None:
    points = {"a": (1.0, 0.5), "b": (1.0, 0.5), "c": (1.0, 0.4), "d": (2.0, 0.5)}
    assert non_dominated(points, UP) == {"a", "b"}
    assert non_dominated({}, UP) == set()


def test_the_front_is_every_point_that_no_other_beats() -> None:
    values = itertools.product((1.0, 2.0, 3.0), (0.1, 0.2, 0.3))
    points = {str(n): value for n, value in enumerate(values)}
    for count in range(1, len(points)):
        some = dict(itertools.islice(points.items(), count))
        expected = {
            name
            for name, (ms, good) in some.items()
            if not any(m <= ms and g >= good and (m, g) != (ms, good) for m, g in some.values())
        }
        assert non_dominated(some, UP) == expected


def test_finalists_are_those_that_noise_may_have_put_behind() -> None:
    points = {"front": (1.0, 0.5), "near": (1.4, 0.4), "far": (1.6, 0.5), "good": (9.0, 0.6)}
    assert finalists(points, UP) == ["front", "good", "near"]
    assert finalists({n: (ms, -q) for n, (ms, q) in points.items()}, DOWN)[:2] == ["front", "good"]
    assert finalists({}, UP) == []
    assert len(finalists({str(n): (1.0, 0.5) for n in range(99)}, UP)) == front.FINALISTS
