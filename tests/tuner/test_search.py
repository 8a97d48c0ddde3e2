"""The search: no repeats, budgets, enumeration, retries, and better than chance."""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from hsa_compiler.errors import InputError
from hsa_compiler.schedules.schedule import Schedule
from hsa_compiler.tuner.measure import Timing
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.storage import open_storage, open_study
from tests.tuner.fakes import BEST, GENERIC, PLANNED, large_space, model_ms, small_space

optuna.logging.set_verbosity(optuna.logging.WARNING)


def run(search: Search, limit: int = 10_000) -> list[Schedule]:
    """Evaluate candidates with the synthetic model until the search ends."""
    seen = []
    while len(seen) < limit and (candidate := search.next()) is not None:
        seen.append(candidate.schedule)
        search.succeed(candidate, Timing(model_ms(candidate.schedule), 0.0, 20), 1e-7)
    return seen


def test_starts_come_first_and_nothing_repeats() -> None:
    search = Search(
        large_space(),
        optuna.create_study(),
        starts=[GENERIC, PLANNED, GENERIC, Schedule(tokens=32, warps=8)],
        trials=80,
    )
    seen = run(search)
    assert seen[:2] == [GENERIC, PLANNED]
    assert len(seen) == len(set(seen)) == 80
    assert all(schedule.tokens * schedule.warps <= 64 for schedule in seen)


def test_what_is_upcoming_is_what_comes_next() -> None:
    search = Search(large_space(), optuna.create_study(), starts=[GENERIC, PLANNED], trials=20)
    seen: list[Schedule] = []
    while upcoming := search.upcoming(6):
        assert upcoming[: len(upcoming)] == search.upcoming(6)[: len(upcoming)]
        seen += run(search, len(upcoming))
        assert seen[-len(upcoming) :] == upcoming
    assert seen[:2] == [GENERIC, PLANNED]
    assert len(seen) == len(set(seen)) == 20


def test_small_spaces_are_enumerated_in_the_order_of_promise() -> None:
    space = small_space()
    assert len(space.points) == 42
    search = Search(
        space,
        optuna.create_study(),
        starts=[PLANNED],
        trials=100,
        rank=lambda points: sorted(points, key=model_ms),
        enumerate_below=43,
    )
    assert search.enumerating
    seen = run(search)
    assert seen[0] == PLANNED
    assert seen[1:] == [p for p in sorted(space.points, key=model_ms) if p != PLANNED]


def test_a_small_space_beyond_the_budget_is_sampled() -> None:
    search = Search(small_space(), optuna.create_study(), trials=20, enumerate_below=43)
    assert not search.enumerating
    assert len(set(run(search))) == 20
    large = Search(small_space(), optuna.create_study(), trials=100, enumerate_below=42)
    assert not large.enumerating


def test_search_ends_when_every_point_was_tried() -> None:
    search = Search(small_space(), optuna.create_study(), trials=41)
    seen = run(search)
    assert len(seen) == 41
    bigger = Search(small_space(), optuna.create_study(), trials=1000, sampler="random")
    assert len(set(run(bigger))) == 42


def test_a_space_of_one_point_is_evaluated_once() -> None:
    search = Search(small_space(axes=()), optuna.create_study(), starts=[GENERIC], trials=10)
    assert run(search) == [GENERIC]


def test_guided_search_beats_chance() -> None:
    def best(sampler: str, seed: int) -> float:
        search = Search(
            large_space(),
            optuna.create_study(),
            starts=[GENERIC],
            trials=60,
            sampler=sampler,
            seed=seed,
        )
        run(search)
        return search.finished[0].median_ms

    guided = statistics.mean(best("tpe", seed) for seed in range(3))
    chance = statistics.mean(best("random", seed) for seed in range(3))
    assert guided < chance
    assert guided < 1.2 * model_ms(BEST)


def test_unknown_sampler_is_named() -> None:
    with pytest.raises(InputError, match="unknown sampler 'annealing': choose from tpe, random"):
        Search(small_space(), optuna.create_study(), trials=1, sampler="annealing")


def test_failures_are_counted_and_never_proposed_again(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "journal"))
    study = open_study(storage, "attend/x", resume=False).study
    search = Search(small_space(), study, starts=[GENERIC, PLANNED], trials=30)
    for kind in ("timeout_run", "wrong_result"):
        candidate = search.next()
        assert candidate is not None
        search.fail(candidate, kind, "…")
    run(search, limit=3)
    assert search.failures == {"timeout_run": 1, "wrong_result": 1}

    again = open_study(open_storage(str(tmp_path / "journal")), "attend/x", resume=True)
    assert again.resumed
    resumed = Search(small_space(), again.study, starts=[GENERIC, PLANNED], trials=30)
    assert resumed.failures == search.failures
    assert resumed.trials == 5
    seen = run(resumed)
    assert len(seen) == 25
    assert GENERIC not in seen
    assert PLANNED not in seen


def test_an_interrupted_candidate_is_retried_once(tmp_path: Path) -> None:
    study = optuna.create_study()
    for attempt in range(2):
        search = Search(small_space(), study, starts=[PLANNED], trials=30)
        candidate = search.next()
        assert candidate is not None, attempt
        assert candidate.schedule == PLANNED, attempt
        search.interrupt(candidate)
    search = Search(small_space(), study, starts=[PLANNED], trials=30)
    assert search.failures == {"abandoned": 1}
    assert PLANNED not in run(search)


def test_what_must_be_measured_is_retried_until_it_is() -> None:
    study = optuna.create_study()
    for _ in range(4):
        search = Search(small_space(), study, starts=[PLANNED], needed=[PLANNED], trials=30)
        candidate = search.next()
        assert candidate is not None
        assert candidate.schedule == PLANNED
        search.interrupt(candidate)
    first = Search(small_space(), study, starts=[PLANNED], needed=[PLANNED], trials=30)
    first.next()  # in flight, and this process lives
    second = Search(small_space(), study, starts=[PLANNED], needed=[PLANNED], trials=30)
    assert run(second)[0] == PLANNED
    assert second.failures == {}


def test_a_trial_of_a_live_process_is_left_alone() -> None:
    study = optuna.create_study()
    first = Search(small_space(), study, starts=[PLANNED], trials=30)
    first.next()
    second = Search(small_space(), study, starts=[PLANNED], trials=30)
    assert PLANNED not in run(second)
    running = [t for t in study.get_trials() if t.state is TrialState.RUNNING]
    assert len(running) == 1


def test_runs_of_one_study_are_numbered_and_only_resume_continues(tmp_path: Path) -> None:
    storage = open_storage(f"journal://{tmp_path / 'deep' / 'journal'}")
    first = open_study(storage, "attend/x", resume=True)
    assert (first.resumed, first.earlier, first.study.study_name) == (False, 0, "attend/x#1")
    run(Search(small_space(), first.study, trials=3))
    second = open_study(storage, "attend/x", resume=False)
    assert (second.earlier, second.study.study_name) == (3, "attend/x#2")
    third = open_study(storage, "attend/x", resume=True)
    assert (third.resumed, third.study.study_name) == (True, "attend/x#2")


@pytest.mark.parametrize("resume", [False, True])
def test_two_processes_may_start_the_same_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    storage = open_storage(str(tmp_path / "journal"))
    open_study(storage, "attend/x", resume=False)
    names = optuna.get_all_study_names
    stale: list[list[str]] = [[]]  # read before the other process made its study
    monkeypatch.setattr(
        optuna, "get_all_study_names", lambda store: stale.pop() if stale else names(store)
    )
    opened = open_study(storage, "attend/x", resume=resume)
    assert opened.resumed is resume
    assert opened.study.study_name == ("attend/x#1" if resume else "attend/x#2")


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    study = open_study(open_storage(str(path)), "attend/x", resume=False).study
    run(Search(small_space(), study, trials=3))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker')
    study = open_study(open_storage(str(path)), "attend/x", resume=True).study
    assert path.read_bytes() == whole
    assert len(study.trials) == 3


def test_a_storage_that_cannot_be_opened_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot open the journal"):
        open_storage(str(tmp_path / "file" / "journal"))
    with pytest.raises(InputError, match="--storage 'nonsense://x'"):
        open_storage("nonsense://x")


@pytest.mark.parametrize(
    "content", [b"a line\nthe last one", b"no line break", b'{"a": 1}\n', b"[]"]
)
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(InputError, match="a file of something else, not Optuna's journal"):
        open_storage(str(path))
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="is not a file"):
        open_storage(str(tmp_path))


def test_a_damaged_journal_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    open_study(open_storage(str(path)), "attend/x", resume=False)
    good = path.read_bytes()
    for bad in (b"garbage\n", b'{"op_code":77}\n', b'{"op_code":4}\n', b"\xff\xfe\n"):
        path.write_bytes(good + bad + good)
        with pytest.raises(InputError, match=r"the journal is damaged .*move the file away"):
            open_storage(str(path))
        assert path.read_bytes() == good + bad + good
    path.write_bytes(b'{"op_c')
    assert open_study(open_storage(str(path)), "attend/x", resume=True).earlier == 0


def test_a_database_of_something_else_is_an_input_error(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("create table version_info (a int)")
        database.commit()
    (tmp_path / "text.db").write_text("no database")
    for name in ("other.db", "text.db"):
        with pytest.raises(InputError, match="--storage 'sqlite:"):
            open_storage(f"sqlite:///{tmp_path / name}")


def test_any_optuna_storage_serves(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = open_study(open_storage(url), "attend/x", resume=False).study
    search = Search(small_space(), study, starts=[PLANNED], trials=5)
    candidate = search.next()
    assert candidate is not None
    search.fail(candidate, "crash", "signal SIGSEGV")
    run(search, limit=2)
    again = open_study(open_storage(url), "attend/x", resume=True).study
    resumed = Search(small_space(), again, starts=[PLANNED], trials=5)
    assert resumed.trials == 3
    assert resumed.failure_of(PLANNED) == "crash: signal SIGSEGV"
    assert len(run(resumed)) == 2
