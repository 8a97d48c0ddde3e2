"""configs, cache and doctor: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hsa_compiler.cache import KernelCache
from hsa_compiler.cli import doctor
from hsa_compiler.cli.main import main
from hsa_compiler.configs import device_record, merge_entries, user_folder
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.defaults import generic
from tests.configs.entries import entry
from tests.problems import make

H100 = hardware.named("nvidia_h100_80gb_hbm3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    problem, sizes = make("attend")
    tuned = entry(problem, sizes, generic("attend", "triton").replace(warps=8))
    merge_entries(tmp_path, device_record(H100), [tuned])
    return tmp_path


def test_configs_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "list", "--folder", str(folder), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["device"], row["kernel"], row["state"], row["classes"]) == (
        "nvidia_h100_80gb_hbm3",
        "attend",
        "ok",
        1,
    )
    assert main(["configs", "list", "--folder", str(folder)]) == 0
    assert "attend" in capsys.readouterr().out
    assert main(["configs", "list", "--folder", str(folder / "none")]) == 0
    assert "No tuned configs" in capsys.readouterr().out


@pytest.mark.parametrize(
    "which", ["attend", "nvidia_h100_80gb_hbm3/attend", "nvidia_h100_80gb_hbm3"]
)
def test_configs_show(folder: Path, which: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "show", which, "--folder", str(folder), "--json"]) == 0
    (config,) = json.loads(capsys.readouterr().out)
    assert config["entries"][0]["schedule"]["warps"] == 8
    assert main(["configs", "show", which, "--folder", str(folder)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "warps=8" in printed
    gain = config["entries"][0]["gain_over_default"]["ratio"]
    assert f"1 entries, geometric means of the gains: {gain:.2f}x over generic" in printed


def test_configs_show_of_nothing_is_bad_input(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["configs", "show", "flash", "--folder", str(folder)]) == 2
    assert "there are: nvidia_h100_80gb_hbm3/attend" in capsys.readouterr().err


def test_configs_verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "verify", str(folder)]) == 0
    path = folder / "nvidia_h100_80gb_hbm3" / "attend.json"
    data = json.loads(path.read_text())
    data["entries"][0]["schedule"]["split"] = 64
    path.write_text(json.dumps(data))
    capsys.readouterr()
    assert main(["configs", "verify", str(path), "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["state"] == "not valid"
    assert "entries.0.schedule: knob: split=64 for attend" in row["reason"]
    del data["entries"][0]["schedule"]["split"]
    data["entries"] *= 2
    path.write_text(json.dumps(data))
    assert main(["configs", "verify", str(path), "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["reason"] == "entries.1: of the same class and selection as entries.0"
    path.write_text("{")
    assert main(["configs", "verify", str(folder)]) == 1
    assert main(["configs", "verify", str(folder / "nothing")]) == 2
    assert main(["configs", "list", "--folder", str(folder)]) == 0


def test_the_packaged_configs_verify() -> None:
    assert main(["configs", "verify"]) == 0


def test_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = KernelCache(tmp_path)
    cache.store("attend", "0" * 16, "x")
    cache.store("select", "0" * 16, "xyz")
    where = ["--folder", str(tmp_path)]
    assert main(["cache", "list", *where, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["kernel"], row["bytes"]) for row in rows} == {("attend", 1), ("select", 3)}
    assert main(["cache", "list", *where]) == 0
    assert "2 files, 4 B of at most 512.0 MiB" in " ".join(capsys.readouterr().out.split())
    assert main(["cache", "clear", *where, "--kernel", "atend"]) == 2
    assert "no kernel 'atend'; there are: retrieve" in capsys.readouterr().err
    assert main(["cache", "clear", *where, "--kernel", "attend"]) == 0
    assert "1 files removed" in capsys.readouterr().out
    assert main(["cache", "clear", *where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == 1


def test_doctor_reports_in_words_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    subjects = {finding["subject"] for finding in findings}
    assert {"python", "torch", "triton", "tvm", "cpu", "gpu", "configs", "cache"} <= subjects
    assert "will use" in subjects
    assert code == int(any(finding["state"] == "problem" for finding in findings))
    main(["doctor"])
    assert "hsa-compiler" in capsys.readouterr().out


def test_doctor_explains_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda package: None)
    found = {finding.subject: finding for finding in doctor.examine()}
    assert "pip install triton" in found["triton"].text
    assert "pip install apache-tvm" in found["tvm"].text
    assert "backend='reference'" in found["will use"].text


def test_doctor_notices_a_broken_config() -> None:
    path = user_folder() / "cpu_x" / "attend.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    try:
        problems = [f.text for f in doctor.examine() if f.state == "problem"]
        assert any(str(path) in text for text in problems)
        assert main(["doctor"]) == 1
    finally:
        path.unlink()
        path.parent.rmdir()
