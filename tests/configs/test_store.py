"""Config files: written whole, merged by class, and refused with file and field."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from hsa_compiler.configs import (
    ShapeClass,
    device_record,
    load_config,
    merge_entries,
    packaged_folder,
    user_folder,
)
from hsa_compiler.errors import ConfigError
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.defaults import generic
from tests.configs.entries import entry
from tests.problems import make

H100 = hardware.named("nvidia_h100_80gb_hbm3")
DEVICE = device_record(H100)


def write(folder: Path, tokens: int = 8192, warps: int = 8, locality: str = "local") -> Path:
    problem, sizes = make("attend", tokens=tokens)
    schedule = generic("attend", "triton").replace(warps=warps)
    (path,) = merge_entries(folder, DEVICE, [entry(problem, sizes, schedule, locality=locality)])
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path == tmp_path / "nvidia_h100_80gb_hbm3" / "attend.json"
    config = load_config(path)
    assert config.kernel == "attend"
    assert config.device == DEVICE
    (found,) = config.entries
    assert found.as_schedule() == generic("attend", "triton").replace(warps=8)
    problem, sizes = make("attend")
    assert found.shape == ShapeClass.of(problem, sizes, "triton")
    assert json.loads(path.read_text())["schema_version"] == 1
    assert path.read_text().endswith("\n")


def test_entries_of_a_class_are_replaced_and_others_kept(tmp_path: Path) -> None:
    write(tmp_path, warps=8)
    write(tmp_path, tokens=32768, warps=2)
    write(tmp_path, locality="random", warps=1)
    path = write(tmp_path, warps=4)
    found = [
        (e.shape.tokens, e.locality.kind, e.schedule["warps"]) for e in load_config(path).entries
    ]
    assert sorted(found) == [(8192, "local", 4), (8192, "random", 1), (32768, "local", 2)]


def test_the_order_of_entries_does_not_depend_on_the_order_of_tuning(tmp_path: Path) -> None:
    for tokens in (8192, 1024, 32768):
        one = write(tmp_path / "one", tokens=tokens)
    for tokens in (32768, 8192, 1024):
        two = write(tmp_path / "two", tokens=tokens)
    shapes = [[e.shape for e in load_config(path).entries] for path in (one, two)]
    assert shapes[0] == shapes[1]


def _merge_many(folder: Path, first: int) -> None:
    for power in range(first, 20, 2):
        write(folder, tokens=1 << power)


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_merge_many, args=(tmp_path, first)) for first in (8, 9)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    (path,) = tmp_path.glob("*/attend.json")
    assert len(load_config(path).entries) == 12


def damaged(path: Path, **changes: Any) -> Path:
    data = json.loads(path.read_text())
    for where, value in changes.items():
        target: Any = data
        *steps, last = where.split("__")
        for step in steps:
            target = target[int(step) if step.isdigit() else step]
        if value is None:
            del target[last]
        else:
            target[last] = value
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema_version: this version reads 1, the file has 99"),
        ({"schema_version": None}, "schema_version: this version reads 1, the file has None"),
        ({"kernel": "select"}, "shape.kernel is 'attend' in a file of 'select'"),
        ({"kernel": "flash"}, "kernel: Value error, no kernel 'flash'"),
        ({"entries__0__time__median_ms": -1}, "entries.0.time.median_ms: Input should be greater"),
        ({"entries__0__schedule__warps": 3}, "entries.0.schedule: Value error, knob: warps=3"),
        ({"entries__0__schedule__warps": 4.0}, "entries.0.schedule: Value error, knob: warps=4.0"),
        ({"entries__0__schedule__wraps": 4}, "unknown wraps"),
        ({"entries__0__shape": None}, "entries.0.shape: Field required"),
        ({"entries__0__other_l2": {"warm": True}}, "entries.0.other_l2.time: Field required"),
        ({"entries__0__other_l2": "warm"}, "entries.0.other_l2: Input should be a valid"),
        ({"entries__0__note": "hi"}, "entries.0.note: Extra inputs are not permitted"),
        ({"entries__0__gain_over_default__low": 3.0}, "needs low <= ratio <= high"),
        ({"entries__0__error": float("nan")}, "entries.0.error: "),
        ({"entries__0__time__median_ms": float("inf")}, "median_ms: Input should be a finite"),
        ({"entries__0__gain_over_default__high": float("inf")}, "high: Input should be a finite"),
        ({"device__dram_bandwidth": float("inf")}, "dram_bandwidth: Input should be a finite"),
        ({"entries__0__shape__dims__D": -1}, "entries.0.shape.dims.D: Input should be greater"),
    ],
)
def test_a_wrong_file_is_refused_with_its_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = damaged(write(tmp_path), **changes)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", '{"schema_version": 1}'])
def test_what_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "attend.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"attend\.json"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "nothing.json")


def test_a_folder_or_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "attend.json").mkdir()
    os.mkfifo(tmp_path / "weigh.json")
    for name in ("attend.json", "weigh.json"):
        with pytest.raises(ConfigError, match=r"\.json: cannot be read: not a file"):
            load_config(tmp_path / name)


def test_a_file_under_another_kernels_name_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    moved = path.rename(path.with_name("select.json"))
    with pytest.raises(ConfigError, match=r"'attend' belongs in attend\.json"):
        load_config(moved)


def test_merging_into_a_broken_file_keeps_it_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path)
    path.write_text("{ broken")
    write(tmp_path, warps=2)
    assert load_config(path).entries[0].schedule["warps"] == 2
    assert (path.parent / "attend.json.bad").read_text() == "{ broken"
    assert "not JSON" in caplog.text
    assert "It is kept as attend.json.bad" in caplog.text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "nvidia_h100_80gb_hbm3").write_text("a file is in the way")
    with pytest.raises(ConfigError, match=r"attend\.json: cannot be written"):
        write(tmp_path)


def test_no_half_written_file_is_left(tmp_path: Path) -> None:
    path = write(tmp_path)
    write(tmp_path, tokens=1024)
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "attend.json"]


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if user_folder().is_relative_to(tmp_path):
        assert user_folder() == tmp_path / "hsa-compiler" / "configs"
    packaged = packaged_folder()
    assert packaged is not None
    assert packaged.name == "tuned_configs"


def test_packaged_configs_are_valid() -> None:
    packaged = packaged_folder()
    assert packaged is not None
    for path in packaged.glob("*/*.json"):
        assert load_config(path).device.slug == path.parent.name
