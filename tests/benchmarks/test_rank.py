"""Ranks, regret, and files of recorded measurements that are not what they should be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hsa_compiler.benchmarks import rank
from hsa_compiler.benchmarks.recorded import RECORDING, recorded_groups, tuned_groups
from hsa_compiler.configs import device_record, merge_entries
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.defaults import generic
from tests.configs.entries import entry
from tests.problems import make

H100 = hardware.named("nvidia_h100_80gb_hbm3")


def recording() -> dict[str, Any]:
    """A small recording: three schedules of one kernel, and one alone."""
    known: dict[str, Any] = device_record(H100).model_dump(mode="json")
    tokens = {2: 0.67, 4: 0.35, 8: 0.43}
    rows = [
        {"step": 1, "shape": "a8", "selection": "local", "kernel": "attend", "median_ms": time}
        | {"schedule": {"order": "union", "tokens": count}}
        for count, time in tokens.items()
    ]
    alone = {**rows[0], "selection": "random"}
    return {
        "schema_version": 1,
        "date": "2026-11-25",
        "device": known,
        "versions": {"date": "2026-11-25", "project": "0", "python": "3", "torch": "2.11.0"},
        "ceilings": {},
        "settings": {"l2": "cold", "samples": "3", "union": {"a8": 0.96}},
        "steps": {"1": "union order"},
        "measurements": [*rows, alone],
    }


def write(folder: Path, data: Any) -> Path:
    path = folder / H100.slug / RECORDING
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("first", "second", "rho"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 400], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 1, 2, 3], [1, 2, 3, 4], 0.9486833),
        ([5, 5, 5], [1, 2, 3], 0.0),
        ([1], [2], 0.0),
    ],
)
def test_spearman(first: list[float], second: list[float], rho: float) -> None:
    assert rank.spearman(first, second) == pytest.approx(rho)
    assert rank.spearman(second, first) == pytest.approx(rho)


def test_a_group_and_its_figures(tmp_path: Path) -> None:
    (group,) = recorded_groups(write(tmp_path, recording()))
    assert (group.device, group.step, group.union, group.task.kernel) == (H100, 1, 0.96, "attend")
    assert group.times == (0.67, 0.35, 0.43)
    seconds = [p.seconds for p in rank.predictions(group)]
    chosen = group.times[seconds.index(min(seconds))]
    assert rank.regret(group) == pytest.approx(chosen / 0.35)
    (row,) = rank.agreements([group])
    assert (row.groups, row.schedules) == (1, 3)
    assert row.rho is None and row.least_rho is None
    assert row.regret == row.worst_regret == pytest.approx(rank.regret(group))


def test_of_equal_predictions_the_planned_one_is_chosen(tmp_path: Path) -> None:
    (group,) = recorded_groups(write(tmp_path, recording()))
    usual = group.schedules[1]
    # A knob that the kernel does not read: both are predicted alike.
    twins = usual.replace(index_blocks=8), usual
    for schedules in (twins, twins[::-1]):
        times = tuple(1.0 if schedule == usual else 2.0 for schedule in schedules)
        assert rank.regret(dataclasses.replace(group, schedules=schedules, times=times)) == 1.0


def test_everything_recorded(tmp_path: Path) -> None:
    write(tmp_path / "results", recording())
    problem, sizes = make("attend")
    tuned = entry(problem, sizes, generic("attend", "triton").replace(warps=8))
    merge_entries(tmp_path / "configs", device_record(H100), [tuned])
    stranger = dataclasses.replace(H100, name="NVIDIA Unheard Of")
    merge_entries(tmp_path / "configs", device_record(stranger), [tuned])
    found = rank.agreement(tmp_path / "results", tmp_path / "configs")
    assert [row["file"] for row in found["agreement"]] == [RECORDING, "tuned_configs"]
    assert found["recorded"][0]["torch"] == "2.11.0" and found["recorded"][0]["triton"] == ""
    (note,) = found["notes"]
    assert "nvidia_unheard_of: left out" in note
    assert rank.agreement(None, tmp_path / "configs")["agreement"] == found["agreement"][1:]


def test_entries_of_kernels_that_are_gone_are_left_out(tmp_path: Path) -> None:
    problem, sizes = make("attend")
    tuned = entry(problem, sizes, generic("attend", "triton").replace(warps=8))
    other = tuned.shape.model_copy(update={"variant": "attend(q k v)"})
    strange = [{"shape": other}, {"sizes": {}}, {"sizes": {**sizes, "C": 0}}, {"sizes": {"R": -1}}]
    for changes in strange:
        gone = tuned.model_copy(update=changes)
        merge_entries(tmp_path, device_record(H100), [gone])
        groups, (note,) = tuned_groups(tmp_path / H100.slug)
        assert not groups and "1 entries left out" in note
        (tmp_path / H100.slug / "attend.json").unlink()


def test_nothing_recorded(tmp_path: Path) -> None:
    for results, configs in ((None, None), (tmp_path, tmp_path)):
        with pytest.raises(InputError, match=r"--check: neither .* holds measured schedules"):
            rank.agreement(results, configs)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("schema_version",), 2, "schema_version: this version reads 1, the file has 2"),
        (("extra",), 1, "extra: Extra inputs are not permitted"),
        (("measurements", 0, "median_ms"), 0, "measurements.0.median_ms"),
        (("measurements", 0, "median_ms"), float("nan"), "measurements.0.median_ms"),
        (("measurements", 0, "schedule"), {"tokns": 2}, "unknown tokns"),
        (("measurements", 0, "schedule"), {"tokens": 3}, "tokens=3"),
        (("measurements", 0, "selection"), "trace", "measurements.0.selection"),
        (("measurements",), None, "measurements"),
        (("device", "slug"), "toaster", "device: no hardware row for 'toaster'"),
        (("settings", "union", "a8"), 0, "settings.union.a8"),
        (("settings", "union"), {"a9": 1.0}, "settings.union: 'a8' is missing"),
    ],
)
def test_recordings_that_are_not_valid(
    tmp_path: Path, where: tuple[Any, ...], value: Any, message: str
) -> None:
    data = recording()
    place: Any = data
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    path = write(tmp_path, data)
    with pytest.raises(ConfigError) as raised:
        recorded_groups(path)
    assert str(path) in str(raised.value) and message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("shape", "a9", "shape 'a9'; known: tiny"), ("kernel", "flash", "has no kernel 'flash'")],
)
def test_measurements_of_something_else(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    data = recording()
    for row in data["measurements"]:
        row[name] = value
    with pytest.raises(ConfigError, match=message):
        recorded_groups(write(tmp_path, data))


@pytest.mark.parametrize(
    ("text", "message"), [("", "not JSON"), ("{", "not JSON"), ("[]", "expected an object")]
)
def test_files_that_are_no_recordings(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, {})
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        recorded_groups(path)
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        recorded_groups(path)
    (tmp_path / "attend.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        tuned_groups(tmp_path)
