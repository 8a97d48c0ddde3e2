"""Building for GPUs that are not here, golden sources, and what is refused."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from hsa_compiler.codegen.cuda import build
from hsa_compiler.compiler import generate_source, lower_kernel
from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import KERNELS, IllegalSchedule, Schedule
from hsa_compiler.tile.builder import TileBuilder
from tests import problems
from tests.tvm import harness

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "cuda"
AMPERE = Target("cuda", "sm_80")
HOPPER = Target("cuda", "sm_90")
CHANGES: dict[str, tuple[str, dict[str, object]]] = {
    "attend.union": ("attend", {"order": "union", "tokens": 4}),
    "attend.chunk": ("attend", {"order": "chunk", "combine": "atomic"}),
    "attend.warpgroups": ("attend", {"order": "union", "tokens": 4}),
    "retrieve.threshold": (
        "retrieve",
        {"top_k": "threshold", "tokens": 64, "chunk_block": 64},
    ),
}
#: Where it is not AMPERE.
TARGETS = {"attend.warpgroups": HOPPER}
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")


def schedule_of(name: str) -> tuple[str, Schedule]:
    """A kernel and its schedule."""
    kind, change = CHANGES.get(name, (name, {}))
    return kind, generic(kind, "cuda").replace(**change)


@pytest.mark.parametrize("name", ["attend", "retrieve", "invert_index", *CHANGES])
def test_generated_source_is_the_golden_one(name: str, update_golden: bool) -> None:
    kind, schedule = schedule_of(name)
    problem, _ = problems.make(kind)
    source = generate_source(problem, schedule, TARGETS.get(name, AMPERE))
    path = GOLDEN / f"{name}.py"
    if update_golden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert source == path.read_text(), "run pytest tests/cuda --update-golden and read the diff"
    ast.parse(source)


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("kind", KERNELS)
def test_tvm_takes_every_kernel(kind: str, dtype: str) -> None:
    problem, _ = problems.make(kind, head_dim=64, top_k=16, dtype=dtype)
    source = build.cuda_source(
        generate_source(problem, generic(kind, "cuda"), HOPPER),
        HOPPER,
    )
    assert "__global__" in source


@needs_nvcc
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_libraries_hold_machine_code_for_gpus_that_are_not_here(arch: str, tmp_path: Path) -> None:
    kind, schedule = schedule_of("attend.union")
    problem, _ = problems.make(kind)
    target = Target("cuda", arch)
    tile = lower_kernel(problem, schedule, target)
    path = tmp_path / "attend_0123456789abcdef.py"
    path.write_text(generate_source(problem, schedule, target))
    library = build.compile_ahead(path, tile, schedule, target)
    assert b"\x7fELF" in library.read_bytes()[4:]
    built = library.stat().st_mtime_ns
    assert build.compile_ahead(path, tile, schedule, target) == library
    # A process that knows nothing of the compiler loads it.
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hsa_compiler.codegen.cuda import build\n"
        f"module = build._runtime().load_module({str(library)!r})\n"
        "print(module['attend'] is not None, 'tvm' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "False"]
    assert library.read_bytes()
    assert built <= library.stat().st_mtime_ns


def test_without_a_compiler_and_a_library_the_error_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, schedule = schedule_of("attend")
    problem, _ = problems.make(kind)
    tile = lower_kernel(problem, schedule, AMPERE)
    path = tmp_path / "attend_0123456789abcdef.py"
    path.write_text("")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackendError, match=r"there is no library beside .* nvcc"):
        build.compile_ahead(path, tile, schedule, AMPERE)


def test_too_much_shared_memory_is_refused() -> None:
    problem, _ = problems.make("attend", dtype="fp32")
    schedule = generic("attend", "cuda").replace(order="union", tokens=8, stages=4)
    with pytest.raises(IllegalSchedule, match="bytes of shared memory a program; there are"):
        generate_source(problem, schedule, Target("cuda", "sm_89"))


def test_blocks_are_refused() -> None:
    problem, _ = problems.make("attend")
    schedule = generic("attend", "cuda").replace(order="union", tokens=4, descriptors="all")
    with pytest.raises(IllegalSchedule, match="descriptors"):
        generate_source(problem, schedule, HOPPER)


def test_a_misaligned_input_is_read_and_never_written() -> None:
    def body(b: TileBuilder) -> None:
        x, out = b.pointer("x", "fp32"), b.pointer("out", "fp32")
        o_x = b.arange(4, "o_x")
        b.store(out, o_x, b.load(x, o_x, name="b_x"))

    def copy(x: torch.Tensor, out: torch.Tensor, *grid: int) -> None:
        assert x.data_ptr() % 16 == out.data_ptr() % 16 == 0
        out.copy_(x)

    (kernel,) = harness.build(body, (1,)).kernels
    room = torch.arange(10.0)
    x, out = room[1:5], room[5:9]
    version = x._version
    build.CudaLaunch.of(copy, kernel)({"x": x, "out": out}, {}, (1,))
    assert out.tolist() == x.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert x._version == version + 1  # by the output, which shares its memory


@needs_nvcc
def test_threads_build_in_turn_and_a_damaged_library_again(tmp_path: Path) -> None:
    problem, _ = problems.make("weigh")
    schedule = generic("weigh", "cuda")
    tile = lower_kernel(problem, schedule, AMPERE)
    paths = [tmp_path / f"kernel{n}.py" for n in range(3)]
    for path in paths:
        path.write_text(generate_source(problem, schedule, AMPERE))
    with ThreadPoolExecutor(3) as pool:
        made = [pool.submit(build.compile_ahead, p, tile, schedule, AMPERE) for p in paths]
        libraries = [future.result() for future in made]
    libraries[0].write_bytes(b"")
    assert build.load(paths[0], tile, schedule, AMPERE)
    assert libraries[0].stat().st_size == libraries[1].stat().st_size
