"""``hsa-compiler show``: a program at every stage of the compiler.

hsa-compiler show hsa --stage backward
hsa-compiler show hsa --stage triton --kernel attend --shape D=64,K=16 --schedule warps=8
hsa-compiler show moba --stage tvm --backward
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.syntax import Syntax

from hsa_compiler.cli.examples import PROGRAMS, Example, Shape, example
from hsa_compiler.cli.output import print_json
from hsa_compiler.configs import Choice, choose
from hsa_compiler.errors import InputError
from hsa_compiler.ir import KernelGroup, differentiate, fuse_groups, group_forms
from hsa_compiler.ir.core import with_dims
from hsa_compiler.runtime.forms import Form, form_of
from hsa_compiler.runtime.validate import is_whole
from hsa_compiler.schedules import hardware, kernel_knobs, space
from hsa_compiler.schedules.problem import DYNAMIC_DIMS, Problem, Target
from hsa_compiler.schedules.schedule import KERNELS, Schedule

STAGES = ("program", "backward", "tile", "triton", "tvm", "cuda")


@dataclass(frozen=True)
class Kernel:
    """One kernel group with the schedule it would get, and where that comes from."""

    problem: Problem
    schedule: Schedule
    reason: str


def show(
    program: Annotated[str, typer.Argument(help=f"One of {', '.join(PROGRAMS)}.")] = "hsa",
    stage: Annotated[str, typer.Option(help=f"One of {', '.join(STAGES)}.")] = "program",
    shape: Annotated[
        str, typer.Option(help="Dims, dtype and normalize, e.g. L=8192,Hq=16,H=1,D=128,dtype=bf16.")
    ] = "",
    schedule: Annotated[
        str,
        typer.Option(
            help="auto (what a call would use), generic, planned, or knobs of the --kernel such "
            "as tokens=32,warps=4; others as in generic."
        ),
    ] = "auto",
    target: Annotated[
        str, typer.Option(help="triton:sm_90, tvm, tvm:CPU:THREADS; default: this machine's.")
    ] = "",
    kernel: Annotated[str, typer.Option(help="Only this kernel, forward or backward.")] = "",
    backward: Annotated[
        bool, typer.Option("--backward", help="The kernels of the backward program.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Print a program at any stage of the compiler, down to the generated source."""
    if stage not in STAGES:
        raise InputError(f"no stage {stage!r}; there are: {', '.join(STAGES)}")
    found = example(program, Shape.parse(shape))
    if found.inference and (backward or stage == "backward"):
        raise InputError(f"{program} is for inference and has no backward: see hsa")
    if stage in ("program", "backward"):
        given = {"--kernel": kernel, "--target": target, "--backward": backward}
        ignored = [name for name, value in given.items() if value]
        ignored += ["--schedule"] * (schedule != "auto")
        if ignored:
            raise InputError(
                f"{ignored[0]} says nothing at --stage {stage}: give --stage tile, triton or tvm"
            )
        shown = found.program if stage == "program" else differentiate(found.program)
        _print([{"program": shown.name, "hash": shown.hash, "text": shown.text()}], "text", as_json)
        return
    goal = _target(target, stage)
    form = _groups(found, kernel, backward, goal)
    if "=" in schedule and len(form.groups) > 1:
        raise InputError("--schedule with knobs needs one kernel: add --kernel NAME")
    rows = []
    for group in form.groups:
        chosen = _schedule(group, found.dims, goal, schedule)
        note = form.note(group.kind)
        rows.append(
            {
                "kernel": group.kind,
                "target": str(goal),
                "schedule": kernel_knobs.knob_values(group.kind, goal.backend, chosen.schedule),
                "reason": f"{chosen.reason}; {note}" if note else chosen.reason,
                "text": _text(chosen, goal, stage),
            }
        )
    _print(rows, "text" if stage == "tile" else "python", as_json)


def _target(text: str, stage: str) -> Target:
    """The target a name stands for; without one, this machine's for the stage's back end.

    Raises:
        InputError: for a name that is no target, or one of another back end than the stage's.
    """
    backend, _, rest = text.partition(":")
    if not text:
        backend = stage if stage in kernel_knobs.BACKENDS else "triton"
    if backend not in kernel_knobs.BACKENDS:
        given = "triton:sm_90, cuda:sm_90, tvm or tvm:CPU:THREADS"
        raise InputError(f"--target {text!r}: give {given}")
    if stage in kernel_knobs.BACKENDS and stage != backend:
        raise InputError(f"--stage {stage} prints for {stage}, not for --target {text}")
    if backend == "tvm":
        if not rest:
            from hsa_compiler.codegen.tvm import host_target

            return host_target()
        cpu, _, threads = rest.partition(":")
        if threads and not (is_whole(threads) and int(threads) > 0):
            raise InputError(f"--target {text!r}: {threads!r} is not a number of threads")
        return Target("tvm", cpu, int(threads or 1))
    arch = rest or _gpu_arch()
    interpreted = backend == "triton" and arch == "interpret"
    if not interpreted and not re.fullmatch(r"sm_\d+", arch):
        raise InputError(f"--target {text!r}: {arch!r} is no architecture such as sm_90")
    return Target(backend, arch)


def _gpu_arch() -> str:
    import torch

    return hardware.detect("cuda").arch if torch.cuda.is_available() else "sm_90"


def _forward(found: Example) -> list[KernelGroup]:
    """The kernels of a call: retrieval is one where every score head has its own indices."""
    groups = list(fuse_groups(found.program))
    if found.dims.get("Hi") != found.dims.get("Hr"):
        return groups
    own = fuse_groups(with_dims(found.program, {"Hi": "Hr"}))
    whole = [group for group in own if group.kind == "retrieve"]
    return [*whole, *(g for g in groups if not whole or g.kind not in ("select", "weigh"))]


def _backward(found: Example) -> dict[str, tuple[KernelGroup, ...]]:
    """The kernels of the backward program, in each of its forms."""
    return {} if found.inference else group_forms(differentiate(found.program))


def _run_backward(found: Example, target: Target) -> Form:
    """The form of the backward program that a call would use."""

    def select(group: KernelGroup) -> tuple[Problem, Target, Choice]:
        problem, sizes = _problem(group, found.dims)
        row = hardware.host_cpu() if target.arch == "interpret" else _hardware(target)
        return problem, target, choose(problem, sizes, target, row)

    return form_of(_backward(found), found.dims, select, lambda: _hardware(target))


def _groups(found: Example, kernel: str, backward: bool, target: Target) -> Form:
    """The kernels to show.

    Raises:
        InputError: for a kernel that does not exist, or that this program does not have.
    """
    program = found.program
    if not kernel:
        if backward:
            return _run_backward(found, target)
        return Form("forward", tuple(_forward(found)))
    if kernel not in KERNELS:
        raise InputError(f"no kernel {kernel!r}; there are: {', '.join(KERNELS)}")
    gradients = [group for groups in _backward(found).values() for group in groups]
    groups = [*_forward(found), *fuse_groups(program), *gradients]
    asked = [group for group in groups if group.kind == kernel]
    if not asked:
        raise InputError(f"{program.name} has no {kernel}; it has: {_names(groups)}")
    return Form("one", (asked[0],))


def _names(groups: list[KernelGroup]) -> str:
    return ", ".join(dict.fromkeys(group.kind for group in groups))


def _problem(group: KernelGroup, dims: dict[str, int]) -> tuple[Problem, dict[str, int]]:
    """A kernel's problem, and the dynamic dims that it mentions."""
    names = group.program.dim_names()
    sizes = {name: dims[name] for name in DYNAMIC_DIMS if name in names}
    return Problem.of(group, dims), sizes


def _schedule(group: KernelGroup, dims: dict[str, int], target: Target, text: str) -> Kernel:
    """The schedule that ``--schedule`` asks for, checked.

    Raises:
        IllegalSchedule: a knob that does not exist, or a schedule that cannot run.
        InputError: text that is neither a word it knows nor knobs.
    """
    problem, sizes = _problem(group, dims)
    row = None if target.arch == "interpret" else _hardware(target)
    if text == "auto":
        choice = choose(problem, sizes, target, row or hardware.host_cpu())
        return Kernel(problem, choice.schedule, f"{choice.tier}: {choice.reason}")
    if text == "planned":
        from hsa_compiler.schedules.cost_model import planned

        best = planned(problem, sizes, row or hardware.of_arch("sm_90"), backend=target.backend)
        return Kernel(problem, best, "planned")
    default = space.legal_default(problem, target.backend, row)
    if text == "generic":
        return Kernel(problem, default, "generic")
    changed = Schedule.from_json({**default.to_json(), **_knobs(text)})
    space.check(problem, changed, target.backend, row)
    return Kernel(problem, changed, "given")


def _hardware(target: Target) -> hardware.Hardware:
    if target.backend == "tvm":
        return hardware.host_cpu()
    try:
        return hardware.of_arch(target.arch)
    except KeyError as error:
        raise InputError(str(error.args[0])) from error


def _knobs(text: str) -> dict[str, int | str | bool]:
    """``"tokens=16,warps=4"`` as names and values."""
    knobs: dict[str, int | str | bool] = {}
    for pair in re.split(r"[,\s]+", text.strip()):
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(
                f"--schedule {text!r}: give auto, generic, planned or knobs such as warps=4"
            )
        if name in knobs:
            raise InputError(f"--schedule {text!r}: {name} is given twice")
        words: dict[str, int | str | bool] = {"true": True, "false": False}
        knobs[name] = int(value) if is_whole(value) else words.get(value.lower(), value)
    return knobs


def _text(kernel: Kernel, target: Target, stage: str) -> str:
    from hsa_compiler.compiler import generate_source, lower_kernel
    from hsa_compiler.tile.text import text

    if stage == "tile":
        return text(lower_kernel(kernel.problem, kernel.schedule, target))
    return generate_source(kernel.problem, kernel.schedule, target)


def _print(rows: list[dict[str, Any]], language: str, as_json: bool) -> None:
    """JSON; or text, with colours on a terminal. Lines about a kernel start with ``#``."""
    if as_json:
        print_json(rows)
        return
    console = Console()
    for row in rows:
        if "kernel" in row:
            knobs = " ".join(f"{name}={value}" for name, value in row["schedule"].items())
            head = f"# {row['kernel']} for {row['target']}: {knobs}\n# {row['reason']}\n"
        else:
            head = f"# hash {row['hash']}\n"
        if console.is_terminal:
            console.print(Syntax(head + row["text"], language, word_wrap=True))
        else:
            print(head + row["text"])
