"""Stored winners raced again: verdicts, what is passed over, the commands, and bad input."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import optuna
import pytest

from hsa_compiler.cli.main import main
from hsa_compiler.configs import Entry, Winner, device_record, load_config, merge_entries
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner import retest, rivals, session, setting
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.rematch import Retested
from hsa_compiler.tuner.shapes import Shape, parse_shapes
from hsa_compiler.tuner.storage import open_storage
from hsa_compiler.tuner.tune import Plan
from hsa_compiler.tuner.workload import Task
from tests.configs.entries import entry
from tests.tuner.fakes import SHAPE, InProcessWorker, SilentView, request


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(retest, "Worker", InProcessWorker)
    monkeypatch.setattr(setting, "Worker", InProcessWorker)


def plan(kernel: str = "attend", shape: Shape = SHAPE) -> Plan:
    return Plan.of(Task(kernel, shape, "cpu"), "tvm", host_cpu())


def winner() -> Schedule:
    """A schedule that is neither of the defaults."""
    found = plan()
    return next(s for s in reversed(found.order) if s not in found.defaults)


def deeds(monkeypatch: pytest.MonkeyPatch, **task: Any) -> None:
    monkeypatch.setenv("FAKE_BENCH", json.dumps(task))


def made(kernel: str = "attend", at: Shape = SHAPE, **changes: Any) -> Entry:
    """An entry whose winner is `winner()`, or another kernel's default."""
    task = Task(kernel, at, "cpu")
    schedule = winner() if kernel == "attend" else plan(kernel, at).generic
    found = entry(task.problem, task.sizes, schedule, backend="tvm", median_ms=0.5)
    return found.model_copy(update=changes)


def store(folder: Path, *entries: Entry) -> Path:
    merge_entries(folder, device_record(host_cpu()), entries)
    return folder


def run(folder: Path, **changes: Any) -> retest.Outcome:
    given = {"device": "cpu", "folders": (folder,), "bench": "tests.tuner.fakes:SessionBench"}
    return retest.run(retest.Request(**(given | changes)), SilentView())


def one(folder: Path, **changes: Any) -> Retested:
    (result,) = run(folder, **changes).results
    return result


@pytest.mark.parametrize(
    ("winner_ms", "planned_ms", "outcome"),
    [
        (0.5, 0.8, "best"),
        (0.5, 0.505, "even"),  # the interval excludes 1, but so little is noise
        (0.505, 0.5, "even"),
        (1.0, 0.8, "beaten"),
    ],
)
def test_verdicts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    winner_ms: float,
    planned_ms: float,
    outcome: str,
) -> None:
    deeds(monkeypatch, times={str(winner()): winner_ms, str(plan().planned): planned_ms})
    found = run(store(tmp_path, made()))
    (result,) = found.results
    assert (result.outcome, result.by) == (outcome, "planned")
    assert result.by_schedule == str(plan().planned)
    assert result.gain == pytest.approx(winner_ms / planned_ms)
    assert result.time_ms == pytest.approx(winner_ms, rel=0.01)
    assert result.recorded_ms == 0.5
    assert (result.changed, result.message) == (
        {"threads": (None, result.changed["threads"][1])},
        "",
    )
    assert [rival.role for rival in result.rivals][:2] == ["generic", "planned"]
    assert {rival.role for rival in result.rivals[2:]} == {"neighbour"}
    assert found.stands == (outcome != "beaten")
    assert bool(found.commands) == (outcome == "beaten")


def test_another_devices_winner_is_the_only_rival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = plan().generic
    deeds(monkeypatch, times={str(winner()): 0.5, str(theirs): 0.8})
    there = dataclasses.replace(host_cpu(), name="elsewhere")
    other = made(schedule=theirs.to_json())
    merge_entries(tmp_path, device_record(there), [other, made("retrieve")])
    store(tmp_path, made(), made("weigh_grad"))
    (result,) = run(tmp_path, against="cpu_elsewhere").results
    assert (result.kernel, result.outcome, result.by) == ("attend", "best", "cpu_elsewhere")
    assert result.gain == pytest.approx(0.5 / 0.8)
    merge_entries(tmp_path, device_record(there), [made()])
    (same,) = run(tmp_path, against="cpu_elsewhere").results
    assert (same.outcome, same.gain) == ("best", None)
    assert same.message == "no other schedule is there to race"


def test_a_device_without_such_winners_is_refused(tmp_path: Path) -> None:
    there = dataclasses.replace(host_cpu(), name="elsewhere")
    merge_entries(tmp_path, device_record(there), [made("retrieve")])
    with pytest.raises(InputError, match="cpu_elsewhere: it has no winner of a shape class"):
        run(store(tmp_path, made()), against="cpu_elsewhere")
    with pytest.raises(InputError, match="no tuned configs of any kernel for nowhere"):
        run(tmp_path, against="nowhere")
    with pytest.raises(InputError, match=f"--against {host_cpu().slug} is this device"):
        run(tmp_path, against=host_cpu().slug)
    with pytest.raises(InputError, match="--against is empty"):
        run(tmp_path, against=" ")
    with pytest.raises(InputError, match="leave --storage out"):
        run(tmp_path, against="nowhere", storage=str(tmp_path / "journal"))


def test_a_winner_that_is_wrong_now_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deeds(monkeypatch, plant={str(winner()): "wrong"})
    found = run(store(tmp_path, made()))
    (result,) = found.results
    assert (result.outcome, result.message) == ("fails", "wrong_result: out is off by 0.5")
    assert not found.stands
    assert len(found.commands) == 1


def test_a_winner_whose_inputs_cannot_be_made_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds(monkeypatch, broken=True)
    result = one(store(tmp_path, made()))
    assert result.outcome == "fails"
    assert "these inputs cannot be made" in result.message


def test_rivals_that_fail_are_named_and_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds(monkeypatch, plant={str(plan().planned): "wrong"}, times={str(plan().planned): 0.1})
    result = one(store(tmp_path, made()))
    assert result.outcome == "even"
    (failed,) = [rival for rival in result.rivals if rival.failure]
    assert (failed.role, failed.time_ms) == ("planned", None)
    everything = dict.fromkeys(map(str, plan().order), "wrong") | {str(winner()): "none"}
    deeds(monkeypatch, plant=everything)
    result = one(tmp_path)
    assert (result.outcome, result.message) == ("best", "no other schedule runs")


def test_a_schedule_that_is_not_legal_any_more_fails(tmp_path: Path) -> None:
    illegal = {**made().schedule, "split": 64}
    result = one(store(tmp_path, made(schedule=illegal)))
    assert result.outcome == "fails"
    assert "split=64 for attend" in result.message


def test_runners_up_come_from_the_recorded_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EFFORTS, "standard", dataclasses.replace(EFFORTS["standard"], trials=8))
    others = [s for s in plan().starts if s not in plan().defaults][:3]
    times = {str(schedule): 0.5 + 0.1 * at for at, schedule in enumerate(others)}
    deeds(monkeypatch, times=times)
    journal = tmp_path / "journal"
    session.run(request(tmp_path, storage=str(journal)), SilentView())
    (tuned,) = load_config(tmp_path / "out" / host_cpu().slug / "attend.json").entries
    assert tuned.as_schedule() == others[0]

    name = f"attend/{host_cpu().slug}/probe/local/0123456789ab#1"
    other = optuna.create_study(storage=open_storage(str(journal)), study_name=name)
    other.set_user_attr("done", {"trials": 3})  # as another version would

    # A newer driver makes the second the fastest.
    deeds(monkeypatch, times=times | {str(others[1]): 0.4})
    result = one(tmp_path / "out", storage=str(journal))
    assert (result.outcome, result.by, result.by_schedule) == ("beaten", "recorded", str(others[1]))
    assert [r.schedule for r in result.rivals if r.role == "recorded"][:2] == [
        *map(str, others[1:])
    ]
    assert result.changed == {}
    with pytest.raises(InputError, match="no such journal"):
        run(tmp_path / "out", storage=str(tmp_path / "none"))
    (tmp_path / "text").write_text("not a journal")
    with pytest.raises(InputError, match="not Optuna's journal"):
        run(tmp_path / "out", storage=str(tmp_path / "text"))
    elsewhere = Shape("other", L=128, Hq=4, H=2, D=16, S=16, K=4, dtype="fp32")
    result = one(store(tmp_path / "new", made(at=elsewhere)), storage=str(journal))
    assert not [r for r in result.rivals if r.role == "recorded"], "of another class"


def test_software_that_changed_is_named(tmp_path: Path) -> None:
    then = made().provenance.model_copy(update={"torch": "1.0", "driver": "1.2.3", "date": "then"})
    result = one(store(tmp_path, made(provenance=then)))
    assert result.changed["torch"] == ("1.0", made().provenance.torch)
    assert result.changed["driver"] == ("1.2.3", made().provenance.driver)
    assert set(result.changed) == {"torch", "driver", "threads"}


def test_what_cannot_be_raced_is_named_with_the_reason(tmp_path: Path) -> None:
    base = made()
    trace = base.locality.model_copy(update={"kind": "trace", "trace": "f00"})
    other = base.shape.model_copy(update={"backend": "cuda"})
    odd = base.shape.model_copy(update={"variant": "attend(x)"})
    folder = store(tmp_path, made(locality=trace), made(shape=other), made(shape=odd))
    found = run(folder)
    messages = sorted(result.message for result in found.results)
    assert [result.outcome for result in found.results] == ["skipped"] * 3
    assert "a recorded trace" in messages[0]
    assert messages[1] == "no call of the operator gives attend(x) at these sizes"
    assert messages[2] == "tuned for back end cuda; the tuner runs tvm here"
    assert not found.stands, "nothing was raced"
    assert run(store(folder, base)).stands


def test_limits_take_kernels_in_turn_and_time_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = SHAPE.resized(L=128, Lkv=128)
    folder = store(tmp_path, made(), made(at=longer), made("attend_grad_q"))
    kernels = [result.kernel for result in run(folder, limit=2).results]
    assert sorted(kernels) == ["attend", "attend_grad_q"]
    kernels = [result.kernel for result in run(folder, kernels=("attend",), limit=9).results]
    assert kernels == ["attend", "attend"]
    deeds(monkeypatch, sleep=0.3)
    outcomes = [result.outcome for result in run(folder, seconds=0.2).results]
    assert outcomes[0] != "skipped"
    assert outcomes[1:] == ["skipped", "skipped"]


def test_the_first_folder_has_the_winner(tmp_path: Path) -> None:
    mine, theirs = store(tmp_path / "a", made()), store(tmp_path / "b", made(), made("weigh_grad"))
    found = run(mine, folders=(mine, theirs)).results
    assert {(r.kernel, Path(r.file).parents[1].name) for r in found} == {
        ("attend", "a"),
        ("weigh_grad", "b"),
    }


def test_ctrl_c_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setups: list[Any] = []

    def setup(worker: InProcessWorker, task: Any, timeout: float) -> None:
        setups.append(task)
        if len(setups) > 1:
            raise KeyboardInterrupt
        worker._bench.setup(task)

    monkeypatch.setattr(InProcessWorker, "setup", setup)
    found = run(store(tmp_path, made(), made("weigh_grad")))
    assert found.interrupted
    assert len(found.results) == 1


def test_the_commands_tune_again_exactly_what_was_lost(tmp_path: Path) -> None:
    longer = SHAPE.resized(L=128, Lkv=128)
    random = made().locality.model_copy(update={"kind": "random"})
    lost = [
        made(),
        made("attend_grad_q"),
        made(at=longer),
        made("attend_grad_q", longer),
        made("weigh_grad", seed=3),
        made(locality=random),
    ]
    path = tmp_path / "my configs" / host_cpu().slug / "attend.json"
    device = device_record(host_cpu())
    written = retest.commands([Winner(path, device, found) for found in lost], "cpu")
    assert len(written) == 3
    tuned = set()
    for command in written:
        words = shlex.split(command)
        assert words[:2] == ["hsa-compiler", "autotune"]
        given: dict[str, list[str]] = {}
        for name, value in zip(words[2::2], words[3::2], strict=True):
            given.setdefault(name, []).append(value)
        assert given["--out"] == [str(tmp_path / "my configs")]
        asked = session.Request(
            "cpu",
            tuple(parse_shapes(given["--shapes"], "cpu")),
            tuple(given["--kernels"][0].split(",")),
            given["--effort"][0],
            given["--locality"][0],
            seed=int(given.get("--seed", ["0"])[0]),
        )
        for task in asked.tasks():
            tuned.add((task.kernel, task.shape.L, task.locality, task.seed))
    assert tuned == {
        (found.shape.kernel, found.shape.tokens, found.locality.kind, found.seed) for found in lost
    }


def test_bad_input_is_one_error_before_anything_is_launched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retest, "Worker", None)
    folder = store(tmp_path / "configs", made())
    file = folder / host_cpu().slug / "attend.json"
    base = ["configs", "retest", "--device", "cpu", "--folder", str(folder)]
    cases = [
        (["--limit", "0"], "limit 0: give a whole number above 0"),
        (["--seconds", "0"], "seconds 0"),
        (["--seconds", "nan"], "seconds nan: give a number above 0"),
        (["--kernels", "attention"], "unknown kernels attention: choose from"),
        (["--kernels", ","], "names none"),
        (["--kernels", "weigh"], f"no tuned configs of weigh for {host_cpu().slug} in"),
        (["--device", "tpu"], "device 'tpu': give auto"),
        (["--storage", " "], "the storage is empty"),
        (["--storage", "nosuch://x"], "--storage 'nosuch://x'"),
    ]
    for more, message in cases:
        assert main([*base, *more]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    with pytest.raises(InputError, match="no tuned configs of any kernel"):
        run(tmp_path / "nothing")
    for text in ("", "{", "[]", file.read_text().replace("fp32", "fp31", 1)[:-20]):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"attend\.json"):
            run(folder)
    (tmp_path / "cache").write_text("")
    file.unlink()
    with pytest.raises(ConfigError, match="set XDG_CACHE_HOME"):
        run(store(folder, made()))


def test_the_command_races_a_real_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    short = dataclasses.replace(EFFORTS["standard"], race_rounds=8, samples=5)
    monkeypatch.setitem(EFFORTS, "standard", short)
    monkeypatch.setattr(rivals, "RUNNERS_UP", 1)
    folder = store(tmp_path / "configs", made("invert_index"))
    base = ["configs", "retest", "--device", "cpu", "--folder", str(folder)]
    code = main([*base, "--compile-workers", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    (result,) = found["results"]
    assert result["outcome"] in ("best", "even", "beaten"), result["message"]
    assert result["time_ms"] > 0
    assert result["by"] in ("planned", "neighbour")
    assert code == int(not found["stands"])
    assert len(found["commands"]) == code
    assert not list(tmp_path.glob("configs/*/*.tmp"))
