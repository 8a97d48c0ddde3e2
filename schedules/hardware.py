"""Hardware rows: what the cost model, the legality check and the config store know of a device.

Rates are data-sheet figures for dense maths. Vendors do not publish the L2 bandwidth: the H100's is
what a token-order forward was measured to draw from it, the others are scaled by SMs and clock. A
device that has no row borrows the row of its architecture, with the figures its driver reports put
in place of the row's.
"""

from __future__ import annotations

import dataclasses
import functools
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Threads of a warp.
WARP = 32
KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class Hardware:
    """One device.

    `arch` is ``"sm_90"`` style for GPUs and, for CPUs, instruction set and vector extension
    (``"x86_64-avx512"``). Bytes are bytes, bandwidths bytes/s, rates FLOP/s of dense products. fp16
    products run at the rate of bf16, and no kernel rounds fp32 operands to TF32.
    """

    name: str
    kind: str
    arch: str
    units: int
    shared_per_block: int
    shared_per_unit: int
    registers_per_unit: int
    threads_per_unit: int
    l2_bytes: int
    memory_bytes: int
    dram_bandwidth: float
    l2_bandwidth: float
    bf16_rate: float
    fp32_rate: float
    launch_seconds: float = 4e-6

    @property
    def slug(self) -> str:
        """The folder name of its tuned configs, e.g. ``nvidia_h100_80gb_hbm3``."""
        return device_slug(self.name, self.kind)

    def rate(self, dtype: str) -> float:
        """Peak dense FLOP/s for operands of `dtype`."""
        if dtype in ("bf16", "fp16"):
            return self.bf16_rate
        return self.fp32_rate / 2 if dtype == "fp64" else self.fp32_rate


def device_slug(name: str, kind: str) -> str:
    """``"NVIDIA H100 80GB HBM3"`` -> ``nvidia_h100_80gb_hbm3``; a CPU's starts with ``cpu_``."""
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"cpu_{slug}" if kind == "cpu" else slug


def _gpu(
    name: str,
    arch: str,
    units: int,
    shared_kib: tuple[int, int],
    threads: int,
    l2_mib: int,
    memory_gb: int,
    gb_per_s: tuple[float, float],
    tflops: tuple[float, float],
) -> Hardware:
    return Hardware(
        name=name,
        kind="cuda",
        arch=arch,
        units=units,
        shared_per_block=shared_kib[0] * KIB,
        shared_per_unit=shared_kib[1] * KIB,
        registers_per_unit=65536,
        threads_per_unit=threads,
        l2_bytes=l2_mib * MIB,
        memory_bytes=memory_gb * 10**9,
        dram_bandwidth=gb_per_s[0] * 1e9,
        l2_bandwidth=gb_per_s[1] * 1e9,
        bf16_rate=tflops[0] * 1e12,
        fp32_rate=tflops[1] * 1e12,
    )


#: Rows by slug. Columns: name, arch, SMs, shared memory per block and per SM (KiB), threads per
#: SM, L2 (MiB), memory (GB), DRAM and L2 bandwidth (GB/s), bf16 and fp32 TFLOP/s.
#: Sources: NVIDIA's data sheets of the A100, L40S, H100, H200 and HGX B200, the Ada white paper for
#: the RTX 4090 (sparse figures halved); shared memory and threads from the CUDA C++ Programming
#: Guide, "Technical Specifications per Compute Capability"; L2 of the H200 as its driver reports
#: it, that of the B200 as Chips and Cheese measured it.
ROWS: dict[str, Hardware] = {
    row.slug: row
    for row in (
        *(
            _gpu(
                name,
                "sm_80",
                108,
                (163, 164),
                2048,
                40,
                memory_gb,
                (bandwidth, 5700),
                (312, 19.5),
            )
            for name, memory_gb, bandwidth in (
                ("NVIDIA A100-SXM4-80GB", 80, 2039),
                ("NVIDIA A100-SXM4-40GB", 40, 1555),
                ("NVIDIA A100 80GB PCIe", 80, 1935),
                ("NVIDIA A100-PCIE-40GB", 40, 1555),
            )
        ),
        _gpu(
            "NVIDIA GeForce RTX 4090",
            "sm_89",
            128,
            (99, 100),
            1536,
            72,
            24,
            (1008, 5000),
            (165, 82.6),
        ),
        _gpu("NVIDIA L40S", "sm_89", 142, (99, 100), 1536, 96, 48, (864, 5000), (362, 91.6)),
        _gpu("NVIDIA H100 PCIe", "sm_90", 114, (227, 228), 2048, 50, 80, (2039, 7000), (756, 51.2)),
        _gpu(
            "NVIDIA H100 80GB HBM3",
            "sm_90",
            132,
            (227, 228),
            2048,
            50,
            80,
            (3350, 8600),
            (989, 66.9),
        ),
        _gpu("NVIDIA H200", "sm_90", 132, (227, 228), 2048, 60, 141, (4800, 8600), (989, 66.9)),
        _gpu("NVIDIA B200", "sm_100", 148, (227, 228), 2048, 126, 180, (8000, 12000), (2250, 75)),
    )
}

#: The row a device without one borrows, by architecture; others take the newest that is older.
BY_ARCH: dict[str, str] = {
    "sm_80": "nvidia_a100_sxm4_80gb",
    "sm_89": "nvidia_l40s",
    "sm_90": "nvidia_h100_80gb_hbm3",
    "sm_100": "nvidia_b200",
}


def of_arch(arch: str) -> Hardware:
    """The row that stands for a GPU architecture.

    An architecture without a row takes the newest one that is not newer than it, which is where
    `detect` puts the figures that the driver reports.

    Raises:
        KeyError: for an architecture older than every row.
    """
    if arch in BY_ARCH:
        return ROWS[BY_ARCH[arch]]
    number = int(re.sub(r"\D", "", arch) or 0)
    older = [known for known in BY_ARCH if int(known.removeprefix("sm_")) <= number]
    if not older:
        raise KeyError(f"no hardware row for {arch!r}; rows exist for: {', '.join(BY_ARCH)}")
    return ROWS[BY_ARCH[max(older, key=lambda known: int(known.removeprefix("sm_")))]]


def has_warpgroup_products(arch: str) -> bool:
    """Whether four warps together multiply what lies in shared memory (``wgmma``: Hopper alone)."""
    return arch == "sm_90"


def has_copy_engine(arch: str) -> bool:
    """Whether one instruction of a program loads a whole tile (``"sm_90"`` and newer, and Triton's
    interpreter, ``"interpret"``)."""
    return arch == "interpret" or (arch.startswith("sm_") and int(arch[3:]) >= 90)


def named(name: str) -> Hardware:
    """A row by slug or driver name, an architecture's row (``"sm_89"``), or ``"cpu"``.

    Raises:
        KeyError: for anything else; the message lists what is known.
    """
    if name == "cpu":
        return host_cpu()
    slug = device_slug(name, "cuda")
    if slug in ROWS:
        return ROWS[slug]
    if re.fullmatch(r"sm_\d+", name):
        return of_arch(name)
    raise KeyError(f"no hardware row {name!r}; known: cpu, {', '.join([*ROWS, *BY_ARCH])}")


def detect(device: str = "cpu") -> Hardware:
    """The row of a present device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, asked once a process.

    Raises:
        KeyError: for a GPU older than every row.
        RuntimeError: from torch, when the GPU does not exist.
    """
    kind, _, index = str(device).partition(":")
    return _detect_cuda(int(index or 0)) if kind == "cuda" else host_cpu()


@functools.cache
def _detect_cuda(index: int) -> Hardware:
    import torch

    found = torch.cuda.get_device_properties(index)
    arch = f"sm_{found.major}{found.minor}"
    row = ROWS.get(device_slug(found.name, "cuda")) or of_arch(arch)
    bandwidth = row.dram_bandwidth
    clock_khz = getattr(found, "memory_clock_rate", 0)
    bus_bits = getattr(found, "memory_bus_width", 0)
    if row.name != found.name and clock_khz and bus_bits:
        bandwidth = 2.0 * clock_khz * 1e3 * bus_bits / 8
    scale = found.multi_processor_count / row.units
    return dataclasses.replace(
        row,
        name=found.name,
        arch=arch,
        units=found.multi_processor_count,
        shared_per_block=getattr(found, "shared_memory_per_block_optin", row.shared_per_block),
        shared_per_unit=getattr(found, "shared_memory_per_multiprocessor", row.shared_per_unit),
        registers_per_unit=getattr(found, "regs_per_multiprocessor", row.registers_per_unit),
        threads_per_unit=found.max_threads_per_multi_processor,
        l2_bytes=getattr(found, "L2_cache_size", row.l2_bytes),
        memory_bytes=found.total_memory,
        dram_bandwidth=bandwidth,
        bf16_rate=row.bf16_rate * scale,
        fp32_rate=row.fp32_rate * scale,
    )


@functools.cache
def host_cpu() -> Hardware:
    """This machine's CPU, from what the operating system tells; rates are estimates.

    Two fused multiply-adds of 256 bits a cycle and core (what AVX2 machines and Zen 4 do), four of
    128 bits where there is no AVX, and 10 GB/s of memory bandwidth a core. `calibrated` replaces
    the estimates by measurements.
    """
    import psutil

    name, flags = _cpu_name_and_flags()
    cores = (
        len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else (psutil.cpu_count() or 1)
    )
    frequency = psutil.cpu_freq()
    hertz = 1e6 * ((frequency.max or frequency.current) if frequency else 0) or 2.5e9
    vector = "avx512" if "avx512f" in flags else "avx2" if "avx2" in flags else "base"
    flops = cores * hertz * (32 if vector != "base" else 16)
    return Hardware(
        name=name,
        kind="cpu",
        arch=f"{platform.machine().lower()}-{vector}",
        units=cores,
        shared_per_block=0,
        shared_per_unit=0,
        registers_per_unit=0,
        threads_per_unit=1,
        l2_bytes=_cpu_cache_bytes(),
        memory_bytes=psutil.virtual_memory().total,
        dram_bandwidth=10e9 * cores,
        l2_bandwidth=32 * hertz * cores,
        bf16_rate=flops,
        fp32_rate=flops,
        launch_seconds=1e-5,
    )


def _cpu_name_and_flags() -> tuple[str, frozenset[str]]:
    info = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine() or "unknown"
    flags = fields.get("flags", fields.get("Features", ""))
    return name, frozenset(flags.split())


def _cpu_cache_bytes() -> int:
    """The largest cache of core 0, or 1 MiB where the system does not tell."""
    largest = MIB
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        match = re.fullmatch(r"(\d+)([KM]?)", text)
        if match:
            largest = max(largest, int(match[1]) * {"K": KIB, "M": MIB, "": 1}[match[2]])
    return largest


def calibrated(hardware: Hardware, device: str, seconds: float = 0.3) -> Hardware:
    """The row with rates and DRAM bandwidth as measured here by a matrix product and a copy.

    Takes about `seconds` for each of the figures. A roofline share against these says how far a
    kernel is from what this machine can do, whatever its data sheet says.
    """
    import torch

    side = 8192 if hardware.kind == "cuda" else 1024
    rates = {}
    for dtype in (torch.bfloat16, torch.float32) if hardware.kind == "cuda" else (torch.float32,):
        a = torch.randn(side, side, device=device, dtype=dtype)
        rates[dtype] = (
            2.0 * side**3 / _seconds_of(functools.partial(torch.matmul, a, a), device, seconds)
        )
    words = (1 << 28) if hardware.kind == "cuda" else (1 << 25)
    source = torch.ones(words, device=device)
    target = torch.empty_like(source)
    copied = _seconds_of(lambda: target.copy_(source), device, seconds)
    fp32 = rates[torch.float32]
    return dataclasses.replace(
        hardware,
        bf16_rate=rates.get(torch.bfloat16, fp32),
        fp32_rate=fp32,
        dram_bandwidth=8.0 * words / copied,
    )


def _seconds_of(work: Callable[[], object], device: str, seconds: float) -> float:
    """The best time of one call over about `seconds`, after one warm-up call."""
    import torch

    def finish() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    work()
    finish()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        finish()
        best = min(best, time.perf_counter() - start)
    return best
