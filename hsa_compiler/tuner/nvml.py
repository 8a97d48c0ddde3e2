"""What a GPU does around a measuring window, as its driver tells through NVML: clocks, power,
temperature, and what holds the clocks down.

A device is found by its UUID, since CUDA_VISIBLE_DEVICES and MIG number devices anew. Clocks belong
to the whole card: of a MIG slice its card is asked. The driver may refuse each query by itself
(without permission, or of a slice); that is said once, and the query is not made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

#: What can hold clocks down, and NVML's names for it. That a GPU idles is not among it.
REASONS = {
    "application_clocks": "nvmlClocksEventReasonApplicationsClocksSetting",
    "display_clock": "nvmlClocksEventReasonDisplayClockSetting",
    "hw_power_brake": "nvmlClocksEventReasonHwPowerBrakeSlowdown",
    "hw_slowdown": "nvmlClocksEventReasonHwSlowdown",
    "hw_thermal": "nvmlClocksEventReasonHwThermalSlowdown",
    "sw_power_cap": "nvmlClocksEventReasonSwPowerCap",
    "sw_thermal": "nvmlClocksEventReasonSwThermalSlowdown",
    "sync_boost": "nvmlClocksEventReasonSyncBoost",
}
#: Names that the package `pynvml`, whose module hides the one of nvidia-ml-py, lacks before 12.
NEEDED = ("nvmlDeviceGetCurrentClocksEventReasons", *REASONS.values())
#: Reasons under which a time says little of a kernel.
DISTURBING = frozenset(("hw_power_brake", "hw_slowdown", "hw_thermal", "sw_thermal"))
#: Usual under load: it disturbs where the clock falls.
POWER_CAP = "sw_power_cap"


@dataclass(frozen=True)
class Reading:
    """A GPU at one moment: SM and memory clock in MHz, watts, degrees Celsius, and which of
    `REASONS` hold. What the driver refuses to tell is None; of reasons there are none then."""

    clock_mhz: int | None = None
    memory_mhz: int | None = None
    watts: float | None = None
    celsius: int | None = None
    reasons: frozenset[str] = frozenset()


class Gpu:
    """One GPU as NVML sees it; see `find`."""

    def __init__(self, nvml: Any, handle: Any, say: Callable[[str], None]) -> None:
        self._nvml = nvml
        self._handle = handle
        self._say = say
        self._refused: set[str] = set()

    @classmethod
    def find(cls, device: torch.device, say: Callable[[str], None]) -> Gpu | None:
        """The GPU of a CUDA device; None without NVML.

        `say` is told why, and later of every query that is refused.
        """
        try:
            import pynvml
        except ImportError:
            say("no NVML: pip install nvidia-ml-py")
            return None
        if not all(hasattr(pynvml, name) for name in NEEDED):
            say(
                f"no NVML: {getattr(pynvml, '__file__', 'pynvml')} is not of nvidia-ml-py 12.535 "
                "or newer: pip uninstall pynvml, then pip install --force-reinstall nvidia-ml-py"
            )
            return None
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        try:
            pynvml.nvmlInit()
            return cls(pynvml, _handle(pynvml, uuid), say)
        except pynvml.NVMLError as error:
            say(f"no NVML for {device} (UUID {uuid}): {error}")
            return None

    def read(self) -> Reading:
        """The present state; takes less than a millisecond and no time of the GPU's."""
        nvml = self._nvml
        milliwatts = self._ask("power", nvml.nvmlDeviceGetPowerUsage)
        return Reading(
            self._ask("SM clock", nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
            self._ask("memory clock", nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),
            None if milliwatts is None else milliwatts / 1e3,
            self._ask("temperature", nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            self.reasons(),
        )

    def reasons(self) -> frozenset[str]:
        """Which of `REASONS` hold now."""
        nvml = self._nvml
        mask = self._ask("what holds clocks down", nvml.nvmlDeviceGetCurrentClocksEventReasons) or 0
        return frozenset(name for name, bit in REASONS.items() if mask & getattr(nvml, bit))

    def _ask(self, what: str, query: Callable[..., int], *arguments: int) -> int | None:
        if what in self._refused:
            return None
        try:
            return query(self._handle, *arguments)
        except self._nvml.NVMLError as error:
            self._refused.add(what)
            self._say(f"NVML does not tell {what}: {error}")
            return None


def _handle(nvml: Any, uuid: str) -> Any:
    """The card that has a UUID, or whose MIG slice has it. Raises NVMLError."""
    try:
        return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except nvml.NVMLError as no_card:
        try:
            part = nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
        except nvml.NVMLError:
            raise no_card from None
    with contextlib.suppress(nvml.NVMLError):
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)
    return part
