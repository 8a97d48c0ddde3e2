"""Architecture search: what is legal, tried and kept, and which points are the front."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from hsa_compiler.benchmarks import pareto
from hsa_compiler.benchmarks.architecture import Point, Space, small_model
from hsa_compiler.benchmarks.front import Front
from hsa_compiler.benchmarks.pareto import Request
from hsa_compiler.benchmarks.quality import Loss, Recall
from hsa_compiler.errors import BackendError, ConfigError, InputError, NoPlot
from hsa_compiler.model.config import HSAConfig
from hsa_compiler.schedules.hardware import detect
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.shapes import Shape
from hsa_compiler.tuner.storage import open_storage, open_study

UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
SHAPE = Shape("call", L=128, Hq=4, H=2, D=16, S=16, K=1, Hr=1, dtype="fp32")


def space(shape: Shape = SHAPE, **axes: Any) -> Space:
    given = {"chunk_sizes": (16, 32), "top_ks": (1, 2, 4), "retrieval_heads": (1, 2)} | axes
    return Space(shape, small_model(shape), **given)


@dataclass
class Counted:
    """A quality that counts its calls: the top-k, unless told otherwise."""

    deed: Callable[[HSAConfig], float] = lambda model: float(model.top_k)
    calls: list[HSAConfig] = field(default_factory=list)
    name: str = "recall"
    direction: StudyDirection = UP

    def check(self, model: HSAConfig) -> None:
        """Always fine."""

    def prepare(self) -> None:
        """Nothing."""

    def of(self, model: HSAConfig) -> float:
        self.calls.append(model)
        return self.deed(model)

    def to_json(self) -> dict[str, Any]:
        return {"measure": self.name}


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """Calls are not made: a point takes what stands here, else its top-k x chunk size in ms."""
    found: dict[str, float] = {}

    def timed(name: str) -> Timing:
        point = dict(part for part in zip(("S", "K"), name[1:].split("-K"), strict=True))
        usual = float(point["S"]) * float(point["K"].partition("-")[0])
        return Timing(found.get(name, usual), 0.5, 20)

    def measure(calls: Mapping[str, str], clock: object, seconds: float) -> dict[str, Timing]:
        return {name: timed(call) for name, call in calls.items()}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pareto, "timed_call", lambda shape, *_: shape.name)
    monkeypatch.setattr(pareto, "screen", lambda call, *_, **__: timed(call))
    monkeypatch.setattr(pareto, "measure", measure)
    monkeypatch.setattr(pareto, "schedules", lambda *_: {"attend": "tokens=1 [planned]"})
    return found


def request(folder: Path, **changes: Any) -> Request:
    given: dict[str, Any] = {
        "space": space(),
        "quality": Counted(),
        "device": "cpu",
        "backward": False,
        "trials": 100,
        "seconds": 100.0,
        "seed": 0,
        "folder": folder / "out",
        "storage": str(folder / "journal"),
    }
    return Request(**{**given, **changes})


def searched(folder: Path, **changes: Any) -> Front:
    front, interrupted = pareto.run(request(folder, **changes), lambda _: None)
    assert not interrupted
    return front


def names(front: Front) -> list[str]:
    return [m.point for m in front.best]


def test_a_grid_is_enumerated_and_the_illegal_is_counted(
    tmp_path: Path, times: dict[str, float]
) -> None:
    quality = Counted()
    grid = space(chunk_sizes=(16, 64), top_ks=(1, 2, 4), retrieval_heads=(1, 3, 4))
    front = searched(tmp_path, space=grid, quality=quality)
    assert len(quality.calls) == len(front.points) == 10 and front.untried == 0
    assert sum(front.illegal.values()) == 18 - 10
    (heads, few) = front.illegal.items()
    assert heads[1] == 5 and "Hr=3" in heads[0]
    assert few == ("top_k=4 is more than the 2 chunks of 64 tokens", 3)
    assert names(front) == [f"S16-K{k}-Hr{hr}" for k in (1, 2, 4) for hr in (1, 4)]
    by_head = {m.point: m.model["model"]["weight_heads"] for m in front.points}
    assert by_head["S16-K1-Hr1"] == "kv" and by_head["S16-K1-Hr4"] == "query"
    assert front.points[0].schedules == {"attend": "tokens=1 [planned]"}


def test_what_no_architecture_can_be_is_refused() -> None:
    for axes, message in (
        ({"chunk_sizes": (48,)}, "chunk_size=48"),
        ({"chunk_sizes": ()}, "at least one value"),
        ({"top_ks": (2, 2)}, "each once"),
        ({"top_ks": (0,)}, "top_k=0"),
        ({"top_ks": (99,)}, r"no combination is legal: top_k=99 .* \(2\)"),
        ({"retrieval_heads": (3,)}, "no combination is legal"),
    ):
        with pytest.raises(InputError, match=message):
            space(**axes)
    with pytest.raises(InputError, match="does not divide the 129 keys"):
        space(SHAPE.resized(Lkv=129))
    with pytest.raises(InputError, match="window_aware = True: only False is measured"):
        Space(SHAPE, dataclasses.replace(small_model(SHAPE), window_aware=True), (16,), (1,), (1,))
    with pytest.raises(InputError, match="benchmarks measure 'softmax'"):
        space(SHAPE.resized(normalize="stick_breaking"))


def test_files_are_what_was_found(tmp_path: Path, times: dict[str, float]) -> None:
    front = searched(tmp_path)
    out = tmp_path / "out"
    assert json.loads((out / "pareto.json").read_text()) == json.loads(json.dumps(front.to_json()))
    assert front.to_json()["schema_version"] == 1
    assert front.settings["shape"]["Hq"] == 4 and front.versions["torch"]
    files = {path.stem: HSAConfig.load(path) for path in (out / "models").iterdir()}
    assert set(files) == set(names(front))
    model = files["S16-K4-Hr2"]
    assert (model.chunk_size, model.top_k, model.retrieval_heads) == (16, 4, 2)
    assert (model.heads, model.hsa_kv_heads, model.head_dim) == (4, 2, 16)
    times["S32-K4-Hr1"] = 0.1
    assert names(searched(tmp_path)) == ["S32-K4-Hr1"]
    assert [path.stem for path in (out / "models").iterdir()] == ["S32-K4-Hr1"]
    assert not list(out.glob(".*"))


def test_the_race_decides_among_finalists(
    tmp_path: Path, times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    raced: list[str] = []

    def measure(calls: Mapping[str, str], *_: object) -> dict[str, Timing]:
        raced.extend(calls)
        return {name: Timing(1.0 if "Hr2" in name else 2.0, 0.1, 9) for name in calls}

    monkeypatch.setattr(pareto, "measure", measure)
    front = searched(tmp_path)
    assert names(front) == ["S16-K4-Hr2"]
    assert sorted(raced) == [f"S16-K{k}-Hr{hr}" for k in (1, 2, 4) for hr in (1, 2)]
    assert {m.point for m in front.points if m.raced} == set(raced)
    assert {m.latency_ms for m in front.points if not m.raced} == {32.0, 64.0, 128.0}


def test_a_race_that_fails_leaves_the_times_of_the_search(
    tmp_path: Path, times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object) -> None:
        raise MemoryError("too much")

    monkeypatch.setattr(pareto, "measure", measure)
    said: list[str] = []
    front, _ = pareto.run(request(tmp_path), said.append)
    assert said[-1] == "the times of the search stand: MemoryError: too much"
    assert front.best and not any(m.raced for m in front.points)


def test_ctrl_c_keeps_what_is_done_and_resume_does_the_rest(
    tmp_path: Path, times: dict[str, float]
) -> None:
    whole = searched(tmp_path, storage=str(tmp_path / "other"))
    quality = Counted()

    def stop_at_third(model: HSAConfig) -> float:
        if len(quality.calls) == 3:
            raise KeyboardInterrupt
        return float(model.top_k)

    quality.deed = stop_at_third
    front, interrupted = pareto.run(request(tmp_path, quality=quality), lambda _: None)
    assert interrupted and len(front.points) == 2 and front.untried == 10
    assert len(json.loads((tmp_path / "out" / "pareto.json").read_text())["points"]) == 2
    again = Counted()
    said: list[str] = []
    front, _ = pareto.run(request(tmp_path, quality=again, resume=True), said.append)
    assert said[0] == "continuing after 2 architectures"
    assert len(again.calls) == 10 and quality.calls[2] in again.calls
    assert [m.point for m in front.points] == [m.point for m in whole.points]
    assert names(front) == names(whole)
    done = Counted()
    searched(tmp_path, quality=done, resume=True)
    assert not done.calls


def test_without_resume_a_search_starts_anew(tmp_path: Path, times: dict[str, float]) -> None:
    searched(tmp_path)
    again, said = Counted(), list[str]()
    pareto.run(request(tmp_path, quality=again), said.append)
    assert len(again.calls) == 12
    assert said[0] == "searching anew; an earlier run has 12 trials (--resume continues it)"
    other = Counted()
    searched(tmp_path, quality=other, resume=True, backward=True)
    assert len(other.calls) == 12  # another call is another study


def test_a_point_that_fails_is_recorded_and_not_tried_again(
    tmp_path: Path, times: dict[str, float]
) -> None:
    def fail(model: HSAConfig) -> float:
        if model.top_k == 4:
            raise MemoryError("so much")
        return float("nan") if model.top_k == 2 else 1.0

    front = searched(tmp_path, quality=Counted(fail))
    assert {m.top_k for m in front.points} == {1}
    kinds = {failure.point[:6]: (failure.kind, failure.reason) for failure in front.failures}
    assert kinds["S16-K4"] == ("out_of_memory", "MemoryError: so much")
    assert kinds["S16-K2"] == ("run_error", "InputError: recall is nan")
    again = Counted()
    assert len(searched(tmp_path, quality=again, resume=True).failures) == 8
    assert not again.calls


def test_nothing_measured_is_an_empty_front(tmp_path: Path, times: dict[str, float]) -> None:
    def fail(model: HSAConfig) -> float:
        raise RuntimeError("no")

    front = searched(tmp_path, quality=Counted(fail))
    assert front.points == front.best == () and len(front.failures) == 12
    assert json.loads((tmp_path / "out" / "pareto.json").read_text())["points"] == []
    with pytest.raises(NoPlot, match="nothing was measured"):
        front.plot(tmp_path)


def test_a_lost_gpu_ends_the_search_and_a_point_that_ends_two_is_given_up(
    tmp_path: Path, times: dict[str, float]
) -> None:
    def lose(model: HSAConfig) -> float:
        if model.top_k == 4:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return 1.0

    axes = {"chunk_sizes": (16,), "retrieval_heads": (1,)}
    for turn in range(2):
        with pytest.raises(BackendError, match=r"GPU is lost .*S16-K4-Hr1"):
            searched(tmp_path, space=space(**axes), quality=Counted(lose), resume=turn > 0)
        assert (tmp_path / "out" / "pareto.json").is_file()
    front = searched(tmp_path, space=space(**axes), quality=Counted(lose), resume=True)
    assert len(front.points) == 2 and front.untried == 0
    assert [(f.point, f.kind) for f in front.failures] == [("S16-K4-Hr1", "abandoned")]


def test_a_point_that_another_process_measured_meanwhile_is_not_measured(
    tmp_path: Path, times: dict[str, float]
) -> None:
    asked = request(tmp_path)
    point = asked.space.points[0]
    study = open_study(
        open_storage(str(tmp_path / "journal")),
        asked.study_name(detect("cpu").slug),
        resume=False,
        directions=(DOWN, UP),
    ).study
    study.enqueue_trial(asked.space.encode(point), user_attrs={"point": point.name})
    timing = dataclasses.asdict(Timing(1.0, 0.1, 5))
    study.add_trial(
        create_trial(
            values=(0.0, 9.0),
            params=asked.space.encode(point),
            distributions={
                "chunk_size": IntDistribution(0, 1),
                "top_k": IntDistribution(0, 2),
                "retrieval_heads": IntDistribution(0, 1),
            },
            user_attrs={
                "point": point.name,
                "outcome": {"timing": timing, "quality": 9.0, "schedules": {}},
            },
        )
    )
    quality = Counted()
    front = searched(tmp_path, quality=quality, resume=True)
    assert len(quality.calls) == 11 and len(front.points) == 12
    assert next(m.quality for m in front.points if m.point == point.name) == 9.0


def test_a_killed_run_leaves_its_point_to_the_next(tmp_path: Path, times: dict[str, float]) -> None:
    asked = request(tmp_path)
    searched(tmp_path, trials=5)
    storage = open_storage(str(tmp_path / "journal"))
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    left = next(
        point
        for point in asked.space.points
        if point.name not in {t.user_attrs.get("point") for t in study.get_trials(deepcopy=False)}
    )
    study.enqueue_trial(asked.space.encode(left))
    trial = study.ask()
    asked.space.suggest(trial)
    trial.set_user_attr("point", left.name)
    trial.set_user_attr("owner", {**pareto.owner_stamp(), "born": 0.0})
    quality = Counted()
    front = searched(tmp_path, quality=quality, resume=True)
    assert len(quality.calls) == 7 and len(front.points) == 12
    states = [t.state for t in study.get_trials(deepcopy=False)]
    assert TrialState.RUNNING not in states


def test_of_a_large_grid_no_point_is_measured_twice(
    tmp_path: Path, times: dict[str, float]
) -> None:
    quality = Counted()
    grid = space(SHAPE.resized(L=512, Lkv=512), top_ks=tuple(range(1, 33)))
    assert len(grid.points) == 96
    front = searched(tmp_path, space=grid, quality=quality, trials=30)
    assert len(quality.calls) == len(set(quality.calls)) == len(front.points) == 30
    assert front.untried == 66
    more = searched(tmp_path, space=grid, quality=quality, trials=34, resume=True)
    assert len(set(quality.calls)) == len(quality.calls) == len(more.points) == 34


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_when_a_sampler_only_repeats_itself_chance_takes_over(
    tmp_path: Path, times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {"chunk_size": 0, "top_k": 0, "retrieval_heads": 0}
    stubborn = optuna.samplers.PartialFixedSampler(first, optuna.samplers.RandomSampler())
    monkeypatch.setattr(optuna.samplers, "TPESampler", lambda seed=None: stubborn)
    monkeypatch.setattr(pareto, "DRAWS", 3)
    quality = Counted()
    assert len(searched(tmp_path, quality=quality, trials=6).points) == 6
    assert len(quality.calls) == len(set(quality.calls)) == 6


def test_no_trial_begins_after_the_seconds(tmp_path: Path, times: dict[str, float]) -> None:
    front = searched(tmp_path, seconds=1e-9)
    assert len(front.points) <= 1 and front.untried >= 11


def test_folders_and_storages_that_cannot_be_used(
    tmp_path: Path, times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = Counted()
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    with pytest.raises(InputError, match="not Optuna's journal"):
        searched(tmp_path, quality=quality, storage=str(foreign))
    assert foreign.read_text() == "mine"
    with pytest.raises(InputError, match="cannot be made"):
        pareto.run(request(foreign, quality=quality, storage=str(tmp_path / "x")), print)
    monkeypatch.setenv("XDG_CACHE_HOME", str(foreign))
    with pytest.raises(ConfigError, match="XDG_CACHE_HOME"):
        searched(tmp_path, quality=quality, storage=None)
    assert not quality.calls
    (tmp_path / "journal").write_bytes(b"")  # what a full disk left
    assert len(searched(tmp_path).points) == 12


def test_the_picture_is_drawn_or_says_what_is_missing(
    tmp_path: Path, times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    front = searched(tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(NoPlot, match=r"pip install 'hsa-compiler\[bench\]'"):
            front.plot(tmp_path)
    pytest.importorskip("matplotlib")
    assert front.plot(tmp_path).read_bytes().startswith(b"\x89PNG")


def test_the_loss_of_a_short_run() -> None:
    base = dataclasses.replace(small_model(SHAPE), attention_backend="reference", width=32, ffn=32)
    model = Space(SHAPE, base, (16,), (2,), (1,)).model_of(Point(16, 2, 1))
    measure = Loss(steps=1, length=64, seed=0, device="cpu")
    assert measure.of(model) == measure.of(model) > 0
    with pytest.raises(InputError, match="a needle and a question need"):
        request(Path(), quality=dataclasses.replace(measure, length=16))


def test_recall_needs_keys_beyond_the_window() -> None:
    with pytest.raises(InputError, match="none of 32 tokens looks beyond"):
        request(Path(), quality=Recall.of_drawn(SHAPE.resized(L=32, Lkv=32), 0, "cpu"))
