"""Whole runs at tiny sizes: what is recorded, what fails, and what a lost GPU leaves."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from hsa_compiler.benchmarks import ours, report, session
from hsa_compiler.benchmarks.contest import Built, Contestant
from hsa_compiler.benchmarks.peers import PEERS, Peer
from hsa_compiler.benchmarks.results import (
    SCHEMA_VERSION,
    Check,
    Result,
    make_folder,
    read_result,
)
from hsa_compiler.benchmarks.rows import SUITES, Row
from hsa_compiler.benchmarks.session import Request, run
from hsa_compiler.configs import ConfigStore
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules import hardware
from hsa_compiler.tuner.measure import CpuClock, Run
from tests.benchmarks.cases import tiny_row


@pytest.fixture(autouse=True)
def uncalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceilings need not be measured here."""
    monkeypatch.setattr(session, "calibrated", lambda hardware, device: hardware)


def request(folder: Path, *rows: Row, suite: str = "paper", **more: Any) -> Request:
    given = {"peers": tuple(PEERS.values()), "outside": (), "seconds": 0.01, **more}
    return Request(SUITES[suite], rows or (tiny_row(),), "cpu", folder=folder, **given)


def silent(_: str) -> None:
    pass


def failing(error: Exception) -> Peer:
    def build() -> Built:
        raise error

    return Peer("bad", "always fails", lambda case: [Contestant("bad", "forward", build)])


def test_records_name_no_folder_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "default_store", lambda: ConfigStore([tmp_path]))
    reason = f"{tmp_path / 'gpu' / 'attend.json'} has order=union: too many registers"
    assert session._portable(reason) == "gpu/attend.json has order=union: too many registers"
    assert session._portable("the same shape class") == "the same shape class"


def test_a_run_measures_everyone_and_writes_it(tmp_path: Path) -> None:
    result = run(request(tmp_path), silent)
    assert result.ok
    data = json.loads((tmp_path / "paper.json").read_text())
    assert data == result.to_json()
    assert (data["schema_version"], data["complete"]) == (SCHEMA_VERSION, True)
    assert data["device"]["slug"].startswith("cpu_")
    assert data["versions"]["torch"]
    (row,) = data["rows"]
    assert {check["what"]: check["ok"] for check in row["checks"]} == {
        "out": True,
        "d_q": True,
        "d_weights": True,
        "weights": True,
    }
    parts = {(m["who"], m["part"]) for m in row["measurements"]}
    every = ("forward", "backward", "retrieve", "retrieve_backward", "total")
    assert {("ours", part) for part in every} <= parts
    assert {("flash2", "backward"), ("torch", "retrieve"), ("reference", "backward")} <= parts
    refused = {(f["who"], f["kind"]) for f in row["failures"]}
    assert refused == {("cudnn", "refused"), ("flex", "refused")}
    backward = result.rows[0].find("ours", "backward", "eager")
    assert backward is not None
    assert backward.roofline is not None
    assert backward.roofline_split == pytest.approx(1.4 * backward.roofline, rel=0.5)
    assert row["selection"]["mean_slots"] == pytest.approx(1.25)
    assert {kernel["kernel"] for kernel in row["kernels"]} >= {"attend", "invert_index"}
    assert all(kernel["schedule"] and kernel["tier"] for kernel in row["kernels"])


def test_decode_measures_hsa_decode_and_no_gradients(tmp_path: Path) -> None:
    row = tiny_row(selection="random", L=1, Lkv=256, decode=True)
    result = run(request(tmp_path, row, suite="decode", peers=()), silent)
    assert result.ok
    assert [kernel.kernel for kernel in result.rows[0].kernels] == ["retrieve", "attend"]
    assert {m.part for m in result.rows[0].measurements} == {"forward", "retrieve", "decode"}
    assert "decode" in {check.what for check in result.rows[0].checks}


def test_retrieval_alone_needs_no_keys(tmp_path: Path) -> None:
    result = run(request(tmp_path, suite="retrieval", peers=(PEERS["torch"],)), silent)
    assert result.ok
    (row,) = result.rows
    assert {m.part for m in row.measurements} == {"retrieve", "retrieve_backward"}
    kernels = [kernel.kernel for kernel in row.kernels]
    assert set(kernels) == {"retrieve", "invert_index", "weigh_grad", "landmark_grad"}
    assert not row.failures


def test_a_failing_peer_is_recorded_and_ends_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    peers = (failing(RuntimeError("no kernel")), PEERS["flash2"])
    result = run(request(tmp_path, suite="ratio", peers=peers), said.append)
    assert result.ok
    (failure,) = result.rows[0].failures
    assert (failure.who, failure.part, failure.kind) == ("bad", "forward", "run_error")
    assert failure.reason == "RuntimeError: no kernel"
    assert any("no kernel" in line for line in said)
    assert result.rows[0].find("flash2", "forward", "eager")


def test_wrong_results_of_ours_make_the_run_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ours.attend
    monkeypatch.setattr(ours, "attend", lambda *given: 1.1 * right(*given))
    result = run(request(tmp_path, suite="ratio", peers=()), silent)
    assert not result.ok
    checks = {check.what: check for check in result.rows[0].checks}
    assert checks["out"].error == pytest.approx(0.1, rel=1e-3)
    assert "out 1.0e-01 WRONG" in report.rows_table(result)[0]["checks"]


def test_a_row_that_cannot_be_drawn_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError("out of memory")

    monkeypatch.setattr(session, "make_case", no_memory)
    result = run(request(tmp_path, peers=()), silent)
    assert result.complete
    assert not result.ok
    assert [(f.part, f.kind) for f in result.rows[0].failures] == [("row", "out_of_memory")]


def test_a_lost_gpu_stops_the_run_and_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: object, row: Row) -> None:
        if row.name == "second":
            raise session.DeviceLost

    monkeypatch.setattr(session._Session, "_measure", lose)
    rows = [tiny_row(name) for name in ("first", "second", "third")]
    result = run(request(tmp_path, *rows), silent)
    assert [row.name for row in result.rows] == ["first", "second"]
    assert not result.complete
    assert not json.loads((tmp_path / "paper.json").read_text())["complete"]


@pytest.fixture
def on_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> session._Session:
    """A session that believes to be on a GPU; nothing of torch.cuda is called."""
    clock = CpuClock()
    modes = {"device": clock, "eager": clock, "graph": clock}
    monkeypatch.setattr(session, "clocks", lambda device: modes)
    monkeypatch.setattr(session._Session, "_finish", lambda self: None)
    given = request(tmp_path), torch.device("cuda"), hardware.host_cpu(), silent
    return session._Session(*given)


def test_only_whole_calls_are_captured_and_a_failed_capture_is_recorded(
    on_gpu: session._Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def capture(run: Run, device: torch.device) -> Run:
        if run is entries["peer"].run:
            raise RuntimeError("operation not permitted when stream is capturing")
        return run

    def built(who: str) -> session.Entry:
        run: Run = lambda: None  # noqa: E731
        return session.Entry(Contestant(who, "total", lambda: Built(run)), run, "")

    entries = {who: built(who) for who in ("ours", "peer")}
    monkeypatch.setattr(session, "captured", capture)
    modes = on_gpu._modes("total", entries)
    assert {mode: list(runs) for mode, runs in modes.items()} == {
        "device": ["ours", "peer"],
        "eager": ["ours", "peer"],
        "graph": ["ours"],
    }
    assert [(f.who, f.part) for f in on_gpu._failures] == [("peer", "graph")]
    assert list(on_gpu._modes("forward", entries)) == ["device"]


@pytest.mark.parametrize("alive", [True, False])
def test_only_an_error_that_ends_the_context_loses_the_gpu(
    on_gpu: session._Session, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    monkeypatch.setattr(session._Session, "_alive", lambda self: alive)
    on_gpu._failed("peer", "forward", RuntimeError("no kernel"))
    error = RuntimeError("CUDA error: misaligned address")
    with nullcontext() if alive else pytest.raises(session.DeviceLost):
        on_gpu._failed("peer", "forward", error)
    assert [f.kind for f in on_gpu._failures] == ["run_error", "cuda_error"]


def test_one_call_that_fails_while_timed_does_not_take_the_others(
    on_gpu: session._Session,
) -> None:
    calls = []

    def sometimes() -> None:
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("out of memory")

    found = on_gpu._timed("forward", {"ours": lambda: None, "peer": sometimes}, CpuClock())
    assert list(found) == ["ours"]
    assert [(f.who, f.kind) for f in on_gpu._failures] == [("peer", "out_of_memory")]


def test_a_check_without_a_number_is_not_passed() -> None:
    assert not Check("out", float("nan"), 1.0).ok
    assert Check("out", 0.5, 1.0).ok


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    result = run(request(tmp_path, peers=(), suite="ratio"), silent)
    bad = Result(**{**vars(result), "ceilings": {"x": float("inf")}})
    assert json.loads(bad.write(tmp_path).read_text())["ceilings"] == {"x": None}


def test_a_result_is_read_back(tmp_path: Path) -> None:
    result = run(request(tmp_path, peers=(PEERS["cudnn"],)), silent)
    path = tmp_path / "paper.json"
    assert read_result(path) == result
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(ConfigError, match="schema_version 2, this version reads 1"):
        read_result(path)
    path.write_text('{"schema_version": 1, "rows": []}')
    with pytest.raises(ConfigError, match="not a result"):
        read_result(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_result(tmp_path / "other.json")


def test_a_folder_that_cannot_be_made_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        make_folder(tmp_path / "file" / "results")
    with pytest.raises(InputError, match="--out"):
        run(request(tmp_path / "file" / "results"), silent)
