"""What a tuned config records of the machine and the software it was measured with."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
import re
import subprocess
from pathlib import Path

from hsa_compiler import __version__
from hsa_compiler.configs.schema import DeviceRecord, Provenance
from hsa_compiler.schedules.hardware import Hardware


def installed(package: str) -> str | None:
    """The installed version of a distribution, without importing it; None where it is absent."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def driver_version() -> str | None:
    """The NVIDIA driver's version, from the kernel module's own file."""
    path = Path("/proc/driver/nvidia/version")
    text = path.read_text() if path.is_file() else ""
    match = re.search(r"Kernel Module\s.*?\s(\d+\.[\d.]+)", text)
    return match[1] if match else None


@functools.cache
def ptxas_version() -> str | None:
    """The version of the assembler that Triton bundles; None without Triton."""
    if installed("triton") is None:
        return None
    files = importlib.metadata.files("triton") or []
    path = next((str(file.locate()) for file in files if file.name == "ptxas"), None)
    if path is None or not Path(path).is_file():
        return None
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"release ([\d.]+)", done.stdout)
    return match[1] if match else None


def versions(threads: int | None = None) -> Provenance:
    """The software of this process, stamped with the present time."""
    return Provenance(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        project=__version__,
        python=platform.python_version(),
        torch=installed("torch") or "absent",
        triton=installed("triton"),
        tvm=installed("apache-tvm"),
        driver=driver_version(),
        ptxas=ptxas_version(),
        threads=threads,
    )


def device_record(hardware: Hardware) -> DeviceRecord:
    """The fingerprint of a device as it stands in a config file."""
    power, mig = _nvml_facts() if hardware.kind == "cuda" else (None, False)
    return DeviceRecord(
        name=hardware.name,
        slug=hardware.slug,
        kind="cuda" if hardware.kind == "cuda" else "cpu",
        arch=hardware.arch,
        units=hardware.units,
        shared_per_block=hardware.shared_per_block,
        l2_bytes=hardware.l2_bytes,
        memory_bytes=hardware.memory_bytes,
        dram_bandwidth=hardware.dram_bandwidth,
        power_limit_watts=power,
        mig=mig,
    )


def _nvml_facts() -> tuple[float | None, bool]:
    """The first GPU's power limit in watts and whether it is split, as `nvidia-smi` tells."""
    query = ["nvidia-smi", "--query-gpu=power.limit,mig.mode.current", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None, False
    first = (done.stdout.splitlines() or [""])[0]
    power = re.match(r"\s*([\d.]+) W", first)
    return (float(power[1]) if power else None), "Enabled" in first
