"""``hsa-compiler doctor``: the environment in words."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from hsa_compiler import __version__
from hsa_compiler.cache import KernelCache
from hsa_compiler.cli.output import human_bytes, print_json
from hsa_compiler.configs import ConfigStore, load_config, packaged_folder, user_folder
from hsa_compiler.configs.device import driver_version, installed, ptxas_version
from hsa_compiler.errors import BackendError, ConfigError
from hsa_compiler.folders import checkout_folder
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.schedule import KERNELS


@dataclass(frozen=True)
class Finding:
    """One line of the report: `state` is ``"ok"``, ``"note"`` or ``"problem"``."""

    subject: str
    state: str
    text: str


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Say what this machine has, what will be used and why; exit code 1 if something is broken."""
    findings = list(examine())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console = Console()
        marks = {"ok": "[green]ok     [/]", "note": "[cyan]note   [/]"}
        for finding in findings:
            mark = marks.get(finding.state, "[bold red]problem[/]")
            line = f"{mark} {finding.subject:<10} {escape(finding.text)}"
            console.print(line, highlight=False, soft_wrap=True)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def examine() -> Iterator[Finding]:
    """Every finding, from the interpreter up to what a call would use."""
    where = checkout_folder()
    place = f"the checkout {where}" if where else f"{Path(__file__).parent.parent}"
    yield Finding("project", "ok", f"hsa-compiler {__version__} from {place}")
    yield Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield from _torch()
    yield from _triton()
    tvm_works = yield from _tvm()
    yield from _cpu()
    gpus = yield from _gpus()
    yield from _configs()
    yield from _cache()
    yield from _uses(tvm_works, gpus)


def _torch() -> Iterator[Finding]:
    import torch

    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
    text = f"{torch.__version__}, {build}, {torch.get_num_threads()} threads"
    yield Finding("torch", "ok", text)


def _triton() -> Iterator[Finding]:
    version = installed("triton")
    if version:
        ptxas = ptxas_version()
        yield Finding("triton", "ok", version + (f", ptxas {ptxas}" if ptxas else ""))
    elif sys.platform == "linux":
        yield Finding("triton", "note", "not installed: GPU kernels need it (pip install triton)")
    else:
        yield Finding("triton", "note", "exists for Linux only; the CPU back end is TVM")


def _tvm() -> Generator[Finding, None, bool]:
    """Whether TVM works is what the generator returns."""
    version = installed("apache-tvm")
    if version is None:
        yield Finding("tvm", "note", "not installed: CPU kernels need it (pip install apache-tvm)")
        return False
    try:
        from hsa_compiler.codegen.tvm import host_target

        target = host_target()
    except (ImportError, OSError, BackendError) as error:
        yield Finding("tvm", "problem", f"{version} is installed but does not load: {error}")
        return False
    threads = os.environ.get("TVM_NUM_THREADS")
    said = f" (TVM_NUM_THREADS={threads})" if threads else ""
    yield Finding("tvm", "ok", f"{version}, LLVM for {target.arch}, {target.threads} threads{said}")
    return True


def _cpu() -> Iterator[Finding]:
    cpu = hardware.host_cpu()
    memory = human_bytes(cpu.memory_bytes)
    yield Finding(
        "cpu", "ok", f"{cpu.name}, {cpu.units} cores to use, {cpu.arch}, {memory} of memory"
    )


def _gpus() -> Generator[Finding, None, list[hardware.Hardware]]:
    """The hardware rows of all GPUs are what the generator returns."""
    import torch

    driver = driver_version()
    if not torch.cuda.is_available():
        if driver and not torch.version.cuda:
            text = f"driver {driver} is there, but torch is a CPU build: install a CUDA build"
            yield Finding("gpu", "problem", text)
        elif driver:
            text = f"driver {driver} is there, but torch finds no GPU it can use"
            yield Finding("gpu", "problem", text)
        else:
            yield Finding("gpu", "note", "none")
        return []
    rows = []
    for index in range(torch.cuda.device_count()):
        try:
            row = hardware.detect(f"cuda:{index}")
        except KeyError as error:
            yield Finding("gpu", "problem", f"cuda:{index}: {error.args[0]}")
            continue
        rows.append(row)
        known = "" if row.slug in hardware.ROWS else f", figures of the nearest {row.arch} row"
        memory = human_bytes(row.memory_bytes)
        text = f"cuda:{index}: {row.name}, {row.arch}, {row.units} multiprocessors, {memory}{known}"
        yield Finding("gpu", "ok", f"{text}, driver {driver or 'unknown'}")
        yield _nvml(f"cuda:{index}")
    return rows


def _nvml(device: str) -> Finding:
    """What the tuner can watch of a GPU's clocks."""
    import torch

    from hsa_compiler.tuner.nvml import DISTURBING, Gpu

    said: list[str] = []
    gpu = Gpu.find(torch.device(device), said.append)
    if gpu is None:
        text = f"{device}: {said[0]}; the tuner sees disturbances by a timed call alone"
        return Finding("nvml", "note", text)
    now = gpu.read()
    values = (
        ("SM clock", now.clock_mhz, "MHz"),
        ("memory clock", now.memory_mhz, "MHz"),
        ("power", now.watts, "W"),
        ("temperature", now.celsius, "C"),
    )
    told = [f"{name} {value:.0f} {unit}" for name, value, unit in values if value is not None]
    if now.reasons:
        told.append(f"clocks held down: {', '.join(sorted(now.reasons))}")
    well = not said and DISTURBING.isdisjoint(now.reasons)
    return Finding("nvml", "ok" if well else "note", f"{device}: {'; '.join([*told, *said])}")


def _configs() -> Iterator[Finding]:
    user, packaged = user_folder(), packaged_folder()
    yield _folder_finding("configs", "yours, read first", user)
    if packaged is None:
        yield Finding(
            "configs",
            "note",
            "the packaged folder tuned_configs is missing: kernels use the cost model's plan",
        )
        return
    yield _folder_finding("configs", "packaged", packaged)
    for path in ConfigStore().files():
        try:
            load_config(path)
        except ConfigError as error:
            yield Finding("configs", "problem", f"{error} (it is ignored)")


def _folder_finding(subject: str, what: str, folder: Path) -> Finding:
    count = len(list(folder.glob("*/*.json"))) if folder.is_dir() else 0
    return Finding(subject, "ok" if count else "note", f"{what}: {folder}, {count} files")


def _cache() -> Iterator[Finding]:
    cache = KernelCache()
    existing = next(folder for folder in (cache.folder, *cache.folder.parents) if folder.exists())
    size = f"{human_bytes(cache.size())} of at most {human_bytes(cache.max_bytes)}"
    if existing.is_dir() and os.access(existing, os.W_OK):
        yield Finding("cache", "ok", f"{cache.folder}, {size}")
    else:
        yield Finding("cache", "problem", f"{cache.folder} cannot be written: set XDG_CACHE_HOME")


def _uses(tvm_works: bool, gpus: list[hardware.Hardware]) -> Iterator[Finding]:
    for index, row in enumerate(gpus):
        if installed("triton"):
            yield Finding("will use", "ok", f"cuda:{index}: Triton, {_schedules(row)}")
        else:
            yield Finding("will use", "problem", f"cuda:{index}: nothing, without Triton")
    if tvm_works:
        yield Finding("will use", "ok", f"cpu: TVM, {_schedules(hardware.host_cpu())}")
    else:
        text = "cpu: nothing unless asked for backend='reference' (slow), without TVM"
        yield Finding("will use", "note" if gpus else "problem", text)


def _schedules(row: hardware.Hardware) -> str:
    """Where the schedules of a device's kernels come from."""
    store = ConfigStore()
    tuned, related = set(), set()
    for path in store.files():
        config = store.load(path)
        if config and config.device.slug == row.slug:
            tuned.add(config.kernel)
        elif config and config.device.arch == row.arch:
            related.add(config.kernel)
    if tuned >= set(KERNELS):
        return f"with configs tuned on {row.slug}"
    parts = []
    if tuned:
        parts.append(f"configs tuned on {row.slug} for {', '.join(sorted(tuned))}")
    if related - tuned:
        parts.append(
            f"configs of another {row.arch} device for {', '.join(sorted(related - tuned))}"
        )
    if set(KERNELS) - tuned - related:
        parts.append("the cost model's plan" + (" for the rest" if parts else ""))
    return f"with {'; '.join(parts)} (run `hsa-compiler autotune`)"
