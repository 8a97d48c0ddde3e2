"""Lookup: which tier answers, and what happens to files that cannot be used."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from pathlib import Path

import pytest

from hsa_compiler.configs import (
    ConfigStore,
    ShapeClass,
    choose,
    default_store,
    device_record,
    merge_entries,
    set_default_store,
)
from hsa_compiler.configs.shapes import bucket
from hsa_compiler.schedules import cost_model, hardware
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import Schedule
from tests.configs.entries import entry
from tests.problems import make

H100 = hardware.named("nvidia_h100_80gb_hbm3")
H200 = hardware.named("nvidia_h200")
A100 = hardware.named("nvidia_a100_sxm4_80gb")
SM90 = Target("triton", "sm_90")
TUNED = generic("attend", "triton").replace(warps=8, stages=3)
#: Near the plan of the shapes here, so that other classes may borrow it.
GOOD = generic("attend", "triton").replace(order="union", tokens=4)


def add(
    folder: Path,
    schedule: Schedule = TUNED,
    device: hardware.Hardware = H100,
    locality: str = "local",
    union: float = 1.3,
    **shape: object,
) -> tuple[Problem, dict[str, int]]:
    problem, sizes = make("attend", **shape)  # type: ignore[arg-type]
    found = entry(problem, sizes, schedule, locality=locality, union=union)
    merge_entries(folder, device_record(device), [found])
    return problem, sizes


def test_exact(tmp_path: Path) -> None:
    problem, sizes = add(tmp_path)
    choice = ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100)
    assert (choice.schedule, choice.tier, choice.distance) == (TUNED, "exact", 0.0)
    assert choice.source == tmp_path / H100.slug / "attend.json"
    assert "exact from" in str(choice)


def test_sizes_of_one_bucket_are_one_class(tmp_path: Path) -> None:
    add(tmp_path)
    problem, sizes = make("attend", tokens=9000)
    assert ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100).tier == "exact"


def test_a_near_class_is_borrowed(tmp_path: Path) -> None:
    add(tmp_path, schedule=GOOD)
    problem, sizes = make("attend", tokens=32768)
    near = ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100)
    assert (near.tier, near.distance) == ("nearest", 2.0)


def test_a_far_class_is_borrowed_where_the_plan_is_no_faster(tmp_path: Path) -> None:
    problem, sizes = make("attend", head_dim=64, top_k=8, tokens=65536)
    plan = cost_model.planned(problem, sizes, H100)
    add(tmp_path / "good", schedule=plan)
    far = ConfigStore([tmp_path / "good"]).choose(problem, sizes, SM90, H100)
    assert far.tier == "far"
    assert far.distance > 4
    # A near class could lend this one, at 1.25 times the plan's time.
    add(tmp_path / "slower", schedule=GOOD)
    choice = ConfigStore([tmp_path / "slower"]).choose(problem, sizes, SM90, H100)
    assert choice.tier == "planned"
    assert "1.23 times" in choice.reason


def test_a_schedule_of_other_heads_gives_way_to_a_much_faster_plan(tmp_path: Path) -> None:
    # 8 tokens of 16 heads fill 8 warps; 8 tokens of one head leave them without rows.
    add(tmp_path, schedule=generic("attend", "triton").replace(order="union", tokens=8, warps=8))
    problem, sizes = make("attend", kv_heads=16)
    choice = ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100)
    assert choice.tier == "planned"
    assert "times as long here as the cost model's plan" in choice.reason


def test_an_entry_that_does_not_fit_the_device_is_named_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    large = TUNED.replace(order="union", tokens=8)
    problem, sizes = add(tmp_path, schedule=large, head_dim=256, dtype="fp32")
    choice = ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100)
    assert choice.tier == "planned"
    assert "shared_memory" in choice.reason
    assert "shared_memory" in caplog.text
    assert str(tmp_path) in caplog.text


def test_the_nearest_of_several_is_taken(tmp_path: Path) -> None:
    add(tmp_path, tokens=1024, schedule=GOOD)
    add(tmp_path, tokens=65536, schedule=GOOD.replace(stages=3))
    problem, sizes = make("attend", tokens=32768)
    choice = ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100)
    assert choice.schedule.stages == 3


def test_a_schedule_of_another_length_gives_way_to_a_much_faster_plan(tmp_path: Path) -> None:
    add(tmp_path, tokens=8192)
    problem, sizes = make("attend", tokens=32768)
    choice = ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100)
    assert choice.tier == "planned"
    assert "times as long here as the cost model's plan" in choice.reason


def test_the_users_folder_comes_first(tmp_path: Path) -> None:
    problem, sizes = add(tmp_path / "user", schedule=TUNED.replace(warps=1))
    add(tmp_path / "packaged", schedule=TUNED.replace(warps=2))
    store = ConfigStore([tmp_path / "user", tmp_path / "packaged"])
    assert store.choose(problem, sizes, SM90, H100).schedule.warps == 1
    # An exact entry of the packaged folder still beats a merely near one of the user's.
    other, other_sizes = add(tmp_path / "packaged", tokens=32768, schedule=TUNED.replace(warps=4))
    store = ConfigStore([tmp_path / "user", tmp_path / "packaged"])
    assert store.choose(other, other_sizes, SM90, H100).schedule.warps == 4


def test_the_same_architecture_is_borrowed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    problem, sizes = add(tmp_path)
    store = ConfigStore([tmp_path])
    for _ in range(2):
        choice = store.choose(problem, sizes, SM90, H200)
    assert choice.tier == "architecture"
    assert choice.schedule == TUNED
    warned = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "borrowing" in warned[0].getMessage()


def test_another_architecture_is_never_borrowed(tmp_path: Path) -> None:
    problem, sizes = add(tmp_path)
    choice = ConfigStore([tmp_path]).choose(problem, sizes, Target("triton", "sm_80"), A100)
    assert choice.tier == "planned"
    assert choice.schedule == cost_model.planned(problem, sizes, A100)
    assert choice.source is None
    assert math.isinf(choice.distance)


def test_another_back_end_is_never_borrowed(tmp_path: Path) -> None:
    problem, sizes = add(tmp_path)
    choice = ConfigStore([tmp_path]).choose(problem, sizes, Target("tvm", "sm_90"), H100)
    assert choice.tier == "planned"


def test_nothing_tuned_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ConfigStore([tmp_path / "missing"])
    for kind in ("attend", "select", "weigh"):
        problem, sizes = make(kind)
        assert store.choose(problem, sizes, SM90, H100).tier == "planned"
    assert [r.getMessage() for r in caplog.records] == [
        f"no tuned configs for {H100.name}; kernels use the cost model's plan. "
        "Run `hsa-compiler autotune` to tune them."
    ]


@pytest.mark.parametrize("text", ["{ broken", '{"schema_version": 7}', "[]"])
def test_a_broken_file_is_said_once_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    problem, sizes = add(tmp_path)
    path = tmp_path / H100.slug / "attend.json"
    path.write_text(text)
    store = ConfigStore([tmp_path])
    for tokens in (8192, 32768):
        problem, sizes = make("attend", tokens=tokens)
        assert store.choose(problem, sizes, SM90, H100).tier == "planned"
    said = [r.getMessage() for r in caplog.records if str(path) in r.getMessage()]
    assert len(said) == 1
    assert said[0].endswith("This file is ignored.")


def test_an_illegal_stored_schedule_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    problem, sizes = add(tmp_path)
    path = tmp_path / H100.slug / "attend.json"
    data = json.loads(path.read_text())
    data["entries"][0]["schedule"]["order"] = "chunk"
    path.write_text(json.dumps(data))
    choice = ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100)
    assert choice.tier == "planned"
    assert "combine: attend with order=chunk combine='none'" in choice.reason
    assert "It is not used" in caplog.text


def test_a_schedule_too_big_for_a_smaller_relative_is_refused(tmp_path: Path) -> None:
    shape = {"head_dim": 256, "chunk": 128}
    problem, sizes = add(tmp_path, schedule=TUNED.replace(stages=2), **shape)
    small = dataclasses.replace(H200, name="small", shared_per_block=100_000)
    choice = ConfigStore([tmp_path]).choose(problem, sizes, SM90, small)
    assert choice.tier == "planned"
    assert "shared_memory" in choice.reason


def test_without_a_measurement_a_trace_comes_first(tmp_path: Path) -> None:
    for warps, kind in enumerate(("random", "local", "trace")):
        schedule = TUNED.replace(warps=1 << warps)
        problem, sizes = add(tmp_path, schedule=schedule, locality=kind, union=1.3)
        choice = ConfigStore([tmp_path]).choose(problem, sizes, SM90, H100)
        assert choice.schedule.warps == 1 << warps
        assert choice.locality == kind


def test_measured_locality_picks_among_entries_of_a_class(tmp_path: Path) -> None:
    add(tmp_path, schedule=TUNED.replace(warps=1), locality="random", union=6.4)
    problem, sizes = add(tmp_path, schedule=TUNED.replace(warps=2), locality="local", union=1.3)
    store = ConfigStore([tmp_path])
    assert store.choose(problem, sizes, SM90, H100).schedule.warps == 2
    assert store.choose(problem, sizes, SM90, H100, union=5.0).schedule.warps == 1
    assert store.choose(problem, sizes, SM90, H100, union=1.0).schedule.warps == 2


def test_the_interpreter_takes_the_literal_default(tmp_path: Path) -> None:
    problem, sizes = add(tmp_path)
    target = Target("triton", "interpret")
    choice = ConfigStore([tmp_path]).choose(problem, sizes, target, hardware.host_cpu())
    assert (choice.tier, choice.schedule) == ("generic", generic("attend", "triton"))


def test_a_repeated_choice_costs_microseconds(tmp_path: Path) -> None:
    problem, sizes = add(tmp_path)
    store = ConfigStore([tmp_path])
    first = store.choose(problem, sizes, SM90, H100)
    start = time.perf_counter()
    for _ in range(1000):
        assert store.choose(problem, sizes, SM90, H100) is first
    assert time.perf_counter() - start < 0.2


def test_the_default_store_can_be_replaced(tmp_path: Path) -> None:
    problem, sizes = add(tmp_path)
    assert choose(problem, sizes, SM90, A100).tier == "planned"
    set_default_store(ConfigStore([tmp_path]))
    assert choose(problem, sizes, SM90, H100).tier == "exact"
    store = default_store()
    set_default_store(None)
    assert default_store() is not store


def test_shape_classes() -> None:
    assert [bucket(n) for n in (0, 1, 2, 3, 5, 6, 1000, 1500)] == [0, 1, 2, 4, 4, 8, 1024, 2048]
    problem, sizes = make("attend")
    here = ShapeClass.of(problem, sizes, "triton")
    assert here.chunks == 128, "from the keys, where a kernel has no C"
    assert "chunk=64" in here.variant
    assert "scale" not in here.variant
    assert here.distance(here) == 0
    fp32 = ShapeClass.of(make("attend", dtype="fp32")[0], sizes, "triton")
    assert here.distance(fp32) == 4
    assert here.key() != fp32.key()
    other = ShapeClass.of(*make("select"), "triton")
    assert math.isinf(here.distance(other))
    assert "tokens~8192" in str(here)
