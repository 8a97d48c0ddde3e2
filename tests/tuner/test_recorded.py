"""Recorded spaces: the file, what a study leaves of them, and searches replayed on them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import optuna
import pytest

from hsa_compiler.cli.main import main
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner import setting
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.recorded import RecordedSpace, replay, trials_to
from hsa_compiler.tuner.session import run
from hsa_compiler.tuner.storage import open_storage
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.workload import Task
from tests.tuner.fakes import SHAPE, InProcessWorker, SilentView, request
from tests.tuner.test_fleet import only_study

SEEN = {"clock_mhz": 1755, "watts": 698.25, "throttled": ("sw_power_cap",), "tries": 2}


def milliseconds(schedule: Schedule) -> float:
    """A smooth synthetic time over the knobs of `retrieve`, least at 32 tokens and blocks of 64."""
    time_ms = 1.0
    for value, best in ((schedule.tokens, 32), (schedule.chunk_block, 64), (schedule.unroll, 4)):
        time_ms *= 1 + 0.2 * abs(math.log2(value / best))
    return time_ms * (1.3 if schedule.lanes == "cols" else 1.0) * (1 + 0.01 * schedule.fan)


@pytest.fixture(scope="module")
def whole() -> RecordedSpace:
    plan = Plan.of(Task("retrieve", SHAPE, "cpu"), "tvm", host_cpu())
    facts = json.loads(json.dumps(asdict(plan.record())))
    starts = tuple(Schedule.from_json(knobs) for knobs in facts.pop("starts"))
    points = plan.space.points
    return RecordedSpace(
        facts,
        starts,
        {s: (Timing(milliseconds(s), 0.01, 20, **SEEN), 1e-7) for s in points[:-2]},
        dict.fromkeys(points[-2:], "wrong_result"),
    )


def test_the_file_gives_back_the_space(tmp_path: Path, whole: RecordedSpace) -> None:
    path = tmp_path / "space.json"
    whole.write(path)
    again = RecordedSpace.read(path)
    assert (again.about, again.starts) == (whole.about, whole.starts)
    assert again.failures == whole.failures
    assert list(again.times) == list(whole.times)
    assert again.best_ms == pytest.approx(whole.best_ms, rel=1e-5)
    assert [error for _, error in again.times.values()] == [1e-7] * len(again.times)
    (first,) = again.best(1)
    assert again.times[first][0] == Timing(again.best_ms, 0.01, 20, **SEEN)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 9}, "schema_version 9, this version reads 2"),
        ({"schema_version": 1}, "write it anew from its study"),
        ({"points": []}, "has no points"),
        ({"starts": []}, "or no starts"),
        ({"points": [[1, 2]]}, "not a recorded space"),
        ({"knobs": ["warp"]}, "not a recorded space"),
        ({"shape": {"name": "x"}}, "not a recorded space"),
        ({"kernel": "attention"}, "not a recorded space"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, whole: RecordedSpace, changes: dict[str, object], reason: str
) -> None:
    path = tmp_path / "space.json"
    whole.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ConfigError, match=reason):
        RecordedSpace.read(path)
    for text in ("", "[]", "[" * 100_000, path.read_text()[:1000]):
        path.write_text(text)
        with pytest.raises(ConfigError, match="not a recorded space"):
            RecordedSpace.read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        RecordedSpace.read(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be written"):
        whole.write(tmp_path / "no" / "space.json")


@pytest.mark.parametrize("wrong", ["fast", None, math.nan, -1.0, [2.0, 0.1]])
def test_a_point_needs_a_time(tmp_path: Path, whole: RecordedSpace, wrong: object) -> None:
    path = tmp_path / "space.json"
    whole.write(path)
    data = json.loads(path.read_text())
    data["points"][3][len(data["knobs"])] = wrong
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"not a recorded|must be numbers above 0"):
        RecordedSpace.read(path)


def test_a_guided_search_needs_fewer_trials_than_chance(whole: RecordedSpace) -> None:
    assert len(whole.times) > EFFORTS["quick"].enumerate_below
    needed = {
        sampler: trials_to([replay(whole, sampler, seed, 150) for seed in range(3)], 0.1)
        for sampler in ("tpe", "random")
    }
    assert needed["tpe"] < needed["random"]
    (first,) = whole.best(1)
    assert trials_to([replay(whole, "random", 0, 3, [first])], 0.0) == 1


def test_a_curve_falls_and_ends_with_the_budget(whole: RecordedSpace) -> None:
    curve = replay(whole, "random", 1, 40)
    assert len(curve) == 40
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] >= 1
    assert trials_to([[3.0, 1.5, 1.04], [1.2, 1.2, 1.2]], 0.05) == math.inf
    assert trials_to([[3.0, 1.5, 1.04]] * 2, 0.05) == 3


def test_a_study_becomes_a_recorded_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(setting, "Worker", InProcessWorker)
    deeds = {"plant": {"16": "wrong"}}
    monkeypatch.setenv("FAKE_BENCH", json.dumps(deeds))
    (result,) = run(request(tmp_path), SilentView()).results
    study = only_study(str(tmp_path / "journal"))
    space = RecordedSpace.of(study)
    assert len(space.times) + len(space.failures) == result.trials
    assert set(space.failures.values()) == {"wrong_result"}
    assert len(replay(space, "random", 0, 500)) == result.trials
    empty = open_storage(str(tmp_path / "other"))
    with pytest.raises(InputError, match="does not say what it tuned"):
        RecordedSpace.of(optuna.create_study(storage=empty))


TIMED = {"median_ms": 2.0, "spread_ms": 0.1, "samples": 20, "error": 1e-7}


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, {"median_ms": 2.0}),
        ({}, TIMED | {"error": "small"}),
        ({}, "2 ms"),
        ({"starts": []}, TIMED),
        ({"backend": None}, TIMED),
        ({"kernel": "attention"}, TIMED),
    ],
)
def test_studies_of_other_versions_are_refused(
    whole: RecordedSpace, changes: dict[str, object], outcome: object
) -> None:
    starts = [schedule.to_json() for schedule in whole.starts]
    study, space = optuna.create_study(), whole.space()
    study.set_user_attr("plan", {**whole.about, "starts": starts, **changes})
    study.add_trial(
        optuna.trial.create_trial(
            value=0.0,
            params=space.encode(whole.starts[0]),
            distributions=space.distributions(),
            user_attrs={"outcome": outcome},
        )
    )
    with pytest.raises(InputError, match=r"(?s)another version \(.*: tune anew"):
        RecordedSpace.of(study)


def test_the_command_compares_samplers(
    tmp_path: Path, whole: RecordedSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "space.json", tmp_path / "other.json"
    whole.write(path)
    whole.write(other)
    words = ["replay", str(path), "--seeds", "2", "--trials", "12", "--samplers", "random"]
    assert main([*words, "--transfer", str(other), "--json"]) == 0
    alone, seeded = json.loads(capsys.readouterr().out)
    assert (alone["search"], seeded["search"]) == ("random", "random, transferred")
    assert seeded["within 2%"] == 1
    assert main([*words, "--blind"]) == 0
    shown = capsys.readouterr().out
    assert f"{len(whole.times)} schedules" in shown
    assert "random, blind" in shown
    for wrong, reason in (
        ([*words, "--save", ""], "--save is empty"),
        ([*words, "--storage", str(other)], "leave that option out"),
        ([*words, "--samplers", ","], "names none: choose from tpe, random"),
        ([*words, "--samplers", "annealing"], "give one of"),
        (["replay", str(tmp_path / "none"), "--storage", str(other)], "not Optuna's journal"),
        (["replay", "attend", "--storage", str(tmp_path / "none")], "there are no studies yet"),
    ):
        assert main(wrong) == 2
        assert reason in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["attend_grad_a8", "landmark_grad_a8"])
def test_the_search_beats_chance_on_spaces_of_a_gpu(name: str) -> None:
    folder = Path(__file__).parents[2] / "benchmarks" / "results" / "nvidia_h200" / "spaces"
    space = RecordedSpace.read(folder / f"{name}.json")
    assert len(space.times) > 1000
    blind = {
        sampler: [replay(space, sampler, seed, 60, blind=True) for seed in range(3)]
        for sampler in ("tpe", "random")
    }
    assert trials_to(blind["tpe"], 0.1) < trials_to(blind["random"], 0.1)
    # What the cost model and other devices suggest is better than what chance finds in 60 trials.
    assert trials_to([replay(space, "tpe", 0, 20)], 0.05) <= 20
