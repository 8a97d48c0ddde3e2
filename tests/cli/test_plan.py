"""plan: schedules ranked and compiled for devices that are not here, and bad input."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from hsa_compiler.cli import plan as command
from hsa_compiler.cli.main import main
from hsa_compiler.codegen import triton_export
from hsa_compiler.errors import BackendError
from hsa_compiler.planning import compiled
from hsa_compiler.planning.forecast import forecast, resolve
from hsa_compiler.schedules import hardware, space
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tuner.shapes import SHAPES
from hsa_compiler.tuner.worker import CandidateFailed
from hsa_compiler.tuner.workload import Task

SMALL = "L=256,Hq=4,H=1,D=32,S=16,K=4"
HOPPER = Target("triton", "sm_90")


class InProcess:
    """Stands for the pool of compiling processes, which has tests of its own."""

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> dict[Any, Any]:
        outcomes: dict[Any, Any] = {}
        for item in dict.fromkeys(items):
            try:
                outcomes[item] = function(item)
            except IllegalSchedule as error:
                outcomes[item] = CandidateFailed(f"illegal_{error.kind}", str(error))
        return outcomes


def planned(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["plan", *arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("arch", ["sm_80", "sm_89", "sm_90", "sm_100"])
def test_schedules_are_ranked_for_every_architecture(
    arch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = planned(capsys, "--target", arch, "--kernels", "weigh_grad,invert_index")
    row = hardware.of_arch(arch)
    assert (found["target"], found["device"]) == (f"triton:{arch}", row.name)
    assert [kernel["kernel"] for kernel in found["kernels"]] == ["invert_index", "weigh_grad"]
    for kernel in found["kernels"]:
        assert kernel["shape"] == "a8" and kernel["no_generic"] is None
        first, *best = kernel["schedules"]
        assert [first["place"], *(each["place"] for each in best)] == ["generic", "1", "2", "3"]
        times = [each["predicted_ms"] for each in best]
        assert times == sorted(times) and times[0] <= first["predicted_ms"]
        for each in kernel["schedules"]:
            assert each["bound"] in ("compute", "l2", "dram", "launch")
            assert each["roofline_share"] == pytest.approx(
                kernel["roofline_ms"] / each["predicted_ms"]
            )
            assert 0 < each["registers"] <= 255 and each["resident"] >= 1
            assert each["shared_bytes"] <= row.shared_per_block
            assert each["compiled"] is None


def test_what_is_not_ranked_is_counted_by_reason() -> None:
    target, row = resolve("nvidia_l40s")
    task = Task("attend_grad_kv", SHAPES["a8"], "cuda")
    found = forecast(task, target, row, 2, None)
    counts = {refusal.kind: refusal.count for refusal in found.refusals}
    everything = sum(1 for _ in space.candidates(task.problem, "triton"))
    assert sum(counts.values()) + found.legal == everything
    assert counts["shared_memory"] > counts["split"] > 0
    (example,) = (r.example for r in found.refusals if r.kind == "shared_memory")
    assert "NVIDIA L40S has 101376" in example
    little = dataclasses.replace(row, memory_bytes=1 << 20)
    poor = forecast(Task("attend", SHAPES["a8"], "cuda"), target, little, 2, None)
    assert "workspace" in {refusal.kind for refusal in poor.refusals}


def test_a_device_that_nothing_fits() -> None:
    row = dataclasses.replace(hardware.named("sm_90"), shared_per_block=1024)
    found = forecast(Task("attend", SHAPES["a8"], "cuda"), HOPPER, row, 3, None)
    assert (found.candidates, found.legal) == ((), 0)
    assert "shared_memory: about" in found.no_generic


def test_unions_decide_between_loop_orders() -> None:
    row = hardware.named("nvidia_h100_80gb_hbm3")
    task = Task("attend", SHAPES["g1"], "cuda")
    near, apart = (forecast(task, HOPPER, row, 1, union) for union in (1.1, 12.0))
    assert near.candidates[1].prediction.seconds <= apart.candidates[1].prediction.seconds
    assert apart.candidates[1].schedule.order == "chunk"


def test_devices_by_slug_and_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--kernels", "weigh_grad", "--top", "1", "--shapes", SMALL)
    slug = planned(capsys, "--target", "nvidia_a100_80gb_pcie", *arguments)
    assert slug == planned(capsys, "--target", "NVIDIA A100 80GB PCIe", *arguments)
    assert slug["target"] == "triton:sm_80"
    assert len(slug["kernels"][0]["schedules"]) == 2


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--kernels", "attend", "--top", "1", "--shapes", SMALL]
    assert main(["plan", "--target", "sm_90", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "for triton:sm_90 (NVIDIA H100 80GB HBM3)" in printed
    assert "Not ranked" in printed and "generic" in printed and "Compiled" not in printed


def test_a_cpu_is_planned_and_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiled, "CompilePool", InProcess)
    arguments = ["--target", "cpu", "--kernels", "weigh_grad", "--top", "1", "--shapes", SMALL]
    found = planned(capsys, *arguments, "--compile")
    assert found["device"] == hardware.host_cpu().name
    for schedule in found["kernels"][0]["schedules"]:
        assert schedule["registers"] is schedule["shared_bytes"] is schedule["resident"] is None
        assert schedule["compiled"] == {"ok": True, "launches": []}
    command.print_plan("", found["kernels"], compiles=True)
    assert "built by LLVM, which does not report registers" in capsys.readouterr().out


def test_compiled_kernels_say_what_they_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiled, "CompilePool", InProcess)
    arguments = ["--target", "sm_90", "--kernels", "attend", "--top", "1", "--shapes", SMALL]
    found = planned(capsys, *arguments, "--compile")
    for schedule in found["kernels"][0]["schedules"]:
        assert schedule["compiled"]["ok"]
        for launch in schedule["compiled"]["launches"]:
            assert 0 < launch["registers"] <= 255
            assert launch["stack_bytes"] >= 0 and 1 <= launch["resident"] <= 32
    assert schedule["compiled"]["launches"][-1]["shared_bytes"] > 0
    command.print_plan("", found["kernels"], compiles=True)
    assert "predicted" in capsys.readouterr().out


def test_a_schedule_that_does_not_fit_once_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Footprints are estimates: what the compiler gives decides."""
    task, row = Task("attend", SHAPES["a8"], "cuda"), hardware.named("nvidia_h200")
    job = compiled.Job(task.problem, generic("attend", "triton"), HOPPER, row)
    (launch,) = compiled.build(job)
    monkeypatch.setattr(compiled, "CompilePool", InProcess)
    tight = dataclasses.replace(row, shared_per_block=launch.shared_bytes - 1)
    monkeypatch.setitem(hardware.ROWS, tight.slug, tight)
    arguments = ["--target", tight.slug, "--kernels", "attend", "--top", "1", "--compile"]
    found = planned(capsys, *arguments, code=1)
    first = found["kernels"][0]["schedules"][0]
    assert first["shared_bytes"] <= tight.shared_per_block < launch.shared_bytes
    assert first["compiled"]["kind"] == "illegal_shared_memory"
    assert f"a block can have {tight.shared_per_block}" in first["compiled"]["reason"]
    command.print_plan("", found["kernels"], compiles=True)
    assert "fails: shared_memory" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--target is missing: give an architecture such as sm_90, a device"),
        (["--target", " "], "--target is missing"),
        (["--target", "toaster"], "--target: no hardware row 'toaster'; known: cpu, nvidia_a100"),
        (["--target", "sm_70"], "there is no hardware row for it; rows exist for: sm_80"),
        (["--target", "sm_9x"], "--target 'sm_9x': give cpu"),
        (["--target", "cpu:pentium99"], "LLVM knows no such CPU"),
        (["--target", "sm_90", "--kernels", "flash"], "unknown kernels flash: choose from"),
        (["--target", "sm_90", "--kernels", ","], "--kernels ',' names none"),
        (["--target", "sm_90", "--kernels", "weigh"], "none of the kernels weigh is part of"),
        (["--target", "sm_90", "--shapes", "a9"], "unknown shape 'a9'"),
        (["--target", "sm_90", "--shapes", ","], "none is named"),
        (["--target", "sm_90", "--union", "0"], "--union 0: give a number above 0, at most 16"),
        (["--target", "sm_90", "--union", "nan"], "--union nan: give a number"),
        (["--check", "--target", "sm_90"], "--check looks at everything that was recorded"),
        (["--check", "--compile"], "--check looks at everything that was recorded"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and not captured.out
    assert captured.err.count("\n") == 1 and captured.err.startswith("error: ")


def test_no_schedules_are_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    for top in ("0", "-1", "many"):
        assert main(["plan", "--target", "sm_90", "--top", top]) == 2


def test_a_binary_that_the_tool_does_not_understand() -> None:
    binary = triton_export.Binary("attend", b"no cubin", (), 128, 0, False)
    with pytest.raises(BackendError, match="cuobjdump names no registers of attend"):
        triton_export.resources(binary)


def test_the_interpreter_cannot_compile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hsa_compiler.codegen.triton_build.interpreting", lambda: True)
    arguments = ["--target", "sm_90", "--kernels", "weigh_grad", "--shapes", SMALL]
    assert main(["plan", *arguments]) == 0
    assert main(["plan", *arguments, "--compile"]) == 2
    assert "TRITON_INTERPRET is set: unset it" in capsys.readouterr().err


def test_the_check_prints_every_recorded_device(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "--check")
    devices = {row["device"] for row in found["agreement"]}
    assert {"NVIDIA H100 80GB HBM3", "NVIDIA H200"} <= devices
    assert {row["device"] for row in found["recorded"]} == devices
    assert main(["plan", "--check"]) == 0
    assert "Spearman's rho" in capsys.readouterr().out


def test_the_check_without_records(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "checkout_folder", lambda: None)
    monkeypatch.setattr(command, "packaged_folder", lambda: None)
    assert main(["plan", "--check"]) == 2
    assert "neither a checkout nor tuned configs holds" in capsys.readouterr().err
