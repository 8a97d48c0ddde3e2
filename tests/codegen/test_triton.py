"""Generated Triton: golden sources, and kernels compiled for GPUs that are not here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from triton.backends import nvidia

from hsa_compiler.codegen import triton_build
from hsa_compiler.compiler import compile_kernel, generate_source, lower_kernel
from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.footprint import KernelShape, footprint
from hsa_compiler.schedules.hardware import named
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.rates import resident_programs
from hsa_compiler.schedules.schedule import KERNELS, Schedule
from hsa_compiler.tuner.shapes import SHAPES
from hsa_compiler.tuner.workload import Task
from tests import problems

HOPPER = Target("triton", "sm_90")
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "triton"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((kind, {}) for kind in KERNELS),
        ("select.threshold", {"top_k": "threshold", "tokens": 64, "chunk_block": 64}),
        ("retrieve.threshold", {"top_k": "threshold", "tokens": 64, "chunk_block": 64}),
        ("attend.union", {"order": "union", "tokens": 4}),
        ("attend_grad_q.union", {"order": "union", "tokens": 4}),
        ("attend.chunk", {"order": "chunk", "combine": "buffer", "window": 2048}),
        ("attend_grad_q.chunk", {"order": "chunk", "combine": "atomic"}),
        ("attend_grad.shared", {"window": 2048, "combine": "atomic"}),
        (
            "attend_grad_q.descriptors",
            {"order": "union", "tokens": 4, "stages": 3, "descriptors": "all"},
        ),
        ("attend.parts", {"parts": 8}),
        ("select.parts", {"parts": 1024, "tokens": 1, "fan": 4, "stages": 1}),
    ],
)
def test_generated_source_is_the_golden_one(
    name: str, change: dict[str, object], update_golden: bool
) -> None:
    kind = name.partition(".")[0]
    problem, _ = problems.make(kind)
    source = generate_source(problem, generic(kind, "triton").replace(**change), HOPPER)
    path = GOLDEN / f"{name}.py"
    if update_golden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert source == path.read_text(), "run pytest tests/codegen --update-golden and read the diff"


@pytest.mark.parametrize("arch", ["sm_80", "sm_89", "sm_90", "sm_100"])
def test_kernels_compile_for_gpus_that_are_not_here(arch: str, tmp_path: Path) -> None:
    target = Target("triton", arch)
    # With matrix products, atomics and a search, while loops, a sort.
    for kind, change in (
        ("retrieve", {"top_k": "threshold", "tokens": 64, "registers": 128}),
        ("retrieve", {}),
        ("attend", {}),
        ("attend", {"order": "union", "tokens": 4, "registers": 168}),
        ("attend", {"order": "chunk", "combine": "atomic"}),
        ("attend", {"parts": 8}),
        ("attend_grad", {"pairs": 4, "window": 2048, "combine": "atomic"}),
        ("landmark_grad", {"window": 1024, "combine": "atomic"}),
        ("weigh", {}),
        ("select", {"parts": 1024, "tokens": 1, "fan": 4, "stages": 1}),
    ):
        problem, _ = problems.make(kind, head_dim=64, top_k=16)
        schedule = generic(kind, "triton").replace(**change)
        tile = lower_kernel(problem, schedule, target)
        knobs = f"{schedule.order}_{schedule.parts}_{schedule.top_k}"
        path = tmp_path / f"{kind}_{knobs}_{arch}.py"
        path.write_text(generate_source(problem, schedule, target))
        launches = triton_build.compile_ahead(path, tile, schedule, target)
        assert all(compiled.asm["cubin"] for compiled in launches)
        sources = [compiled.asm["ptx"] for compiled in launches]
        if kind == "attend":
            assert any("mma" in ptx for ptx in sources), "products must use the matrix unit"
        # Launches that share a row's work wait for each other by themselves, from Hopper on.
        waits = schedule.parts > 0 and arch in ("sm_90", "sm_100")
        assert all(("griddepcontrol.wait" in ptx) == waits for ptx in sources)


@pytest.mark.parametrize("descriptors", ["keys", "all"])
@pytest.mark.parametrize("kind", ["attend", "attend_grad_q"])
def test_blocks_are_loaded_by_the_copy_engine(kind: str, descriptors: str, tmp_path: Path) -> None:
    problem, _ = problems.make(kind)
    schedule = Schedule(order="union", tokens=4, stages=3, descriptors=descriptors)
    tile = lower_kernel(problem, schedule, HOPPER)
    path = tmp_path / f"{kind}_{descriptors}.py"
    path.write_text(generate_source(problem, schedule, HOPPER))
    *_, compiled = (
        k
        for k in triton_build.compile_ahead(path, tile, schedule, HOPPER)
        if k.metadata.name == kind
    )
    ptx = compiled.asm["ptx"]
    assert "cp.async.bulk.tensor" in ptx
    assert "wgmma" in ptx
    held = footprint(KernelShape.of(problem), schedule, "triton")
    assert held.shared_bytes == pytest.approx(compiled.metadata.shared, rel=0.05)


@pytest.mark.parametrize(
    ("shape", "change"),
    [
        ("g1", {"pairs": 64}),
        ("g1", {"pairs": 64, "combine": "atomic"}),
        ("g4", {"pairs": 8, "window": 2048}),
    ],
)
def test_all_gradients_fit_the_registers_of_hopper(
    shape: str, change: dict[str, object], tmp_path: Path
) -> None:
    problem = Task("attend_grad", SHAPES[shape], "cuda:0").problem
    schedule = generic("attend_grad", "triton").replace(**change)
    tile = lower_kernel(problem, schedule, HOPPER)
    path = tmp_path / f"{shape}_{schedule.combine}.py"
    path.write_text(generate_source(problem, schedule, HOPPER))
    main = triton_build.compile_ahead(path, tile, schedule, HOPPER)[0]
    assert main.metadata.name == "attend_grad"
    cubin = tmp_path / "main.cubin"
    cubin.write_bytes(main.asm["cubin"])
    tool = Path(nvidia.__file__).parent / "bin" / "cuobjdump"
    used = subprocess.run(
        [str(tool), "-res-usage", str(cubin)], capture_output=True, text=True, check=True
    )
    assert "STACK:0 " in used.stdout + used.stderr, "registers were spilled"
    held = footprint(KernelShape.of(problem), schedule, "triton")
    assert held.shared_bytes == pytest.approx(main.metadata.shared, rel=0.1)
    # Two programs of four warps share a multiprocessor.
    assert resident_programs(schedule, held, named("nvidia_h100_80gb_hbm3")) == 2


def test_a_process_that_does_not_interpret_refuses_the_interpreter_target() -> None:
    problem, _ = problems.make("attend")
    with pytest.raises(BackendError, match="TRITON_INTERPRET"):
        compile_kernel(problem, generic("attend", "triton"), Target("triton", "interpret"))


def test_an_unknown_back_end_is_named() -> None:
    problem, _ = problems.make("attend")
    with pytest.raises(BackendError, match="there are: cuda, triton, tvm"):
        compile_kernel(problem, generic("attend", "triton"), Target("metal", "m4"))


def test_bf16_products_are_widened_when_interpreted() -> None:
    # The interpreter of Triton 3.6 to 3.9 multiplies bf16 wrongly. When this fails it was mended:
    # drop the widening in the printer.
    code = (
        "import torch, triton, triton.language as tl\n"
        "@triton.jit\n"
        "def f(p, o):\n"
        "    i = tl.arange(0, 32)\n"
        "    a = tl.load(p + i[:, None] * 32 + i[None, :])\n"
        "    tl.store(o + i[:, None] * 32 + i[None, :], tl.dot(a, a))\n"
        "x = torch.randn(32, 32).bfloat16(); o = torch.empty(32, 32)\n"
        "f[(1,)](x, o)\n"
        "ref = x.float() @ x.float()\n"
        "print(((o - ref).norm() / ref.norm()).item() < 1e-2)\n"
    )
    path = Path(sys.executable).parent / "python"
    run = subprocess.run(
        [str(path), "-c", _as_file(code)],
        env={"TRITON_INTERPRET": "1", "PATH": "/usr/bin:/bin", "HOME": "/tmp"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "False"
    problem, _ = problems.make("attend")
    source = generate_source(problem, generic("attend", "triton"), Target("triton", "interpret"))
    assert "b_q.to(tl.float32)" in source


def _as_file(code: str) -> str:
    # Triton reads a kernel's source through inspect, which needs a file.
    return (
        "import pathlib, runpy, tempfile\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    path = pathlib.Path(folder) / 'probe.py'\n"
        f"    path.write_text({code!r})\n"
        "    runpy.run_path(str(path))\n"
    )
