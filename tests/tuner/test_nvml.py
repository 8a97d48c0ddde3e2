"""What NVML tells of a GPU, and what follows for a measuring window; the library is a fake."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from hsa_compiler.cli import doctor
from hsa_compiler.schedules import hardware
from hsa_compiler.tuner.measure import TRIES, Sentinel, Timing, screen_steadily
from hsa_compiler.tuner.nvml import REASONS, Gpu, Reading
from tests.tuner.test_measure import QUICK, ScriptedClock

pynvml = pytest.importorskip("pynvml")

UUID = "5fd4f087-86f3-7a43-b711-4771313afc50"
CUDA = torch.device("cuda:0")
IDLE, HOT = pynvml.nvmlClocksEventReasonGpuIdle, pynvml.nvmlClocksEventReasonHwThermalSlowdown
CAPPED = pynvml.nvmlClocksEventReasonSwPowerCap


class FakeNvml:
    """Stands for the module, with one GPU.

    `handles` are its devices by UUID, `refused` what raises, `driver` whether there is one; `mask`
    are the reasons that hold, and `asked` what was asked of which handle.
    """

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM = pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self) -> None:
        self.handles = {f"GPU-{UUID}": "card"}
        self.refused: set[str] = set()
        self.driver = True
        self.mask = IDLE
        self.mhz = {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 2619}
        self.asked: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> int:
        assert name.startswith("nvmlClocksEventReason"), f"{name} is not to be used"
        return int(getattr(pynvml, name))

    def _ask(self, what: str, handle: str) -> None:
        self.asked.append((what, handle))
        if what in self.refused:
            raise self.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if "UUID" in self.refused and uuid.startswith("GPU"):
            raise self.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        if uuid not in self.handles:
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return self.handles[uuid]

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:
        self._ask("card", handle)
        return "card"

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        self._ask("power", handle)
        return 412_345

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:
        self._ask("clock", handle)
        return self.mhz[kind]

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        self._ask("temperature", handle)
        return 61

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:
        self._ask("reasons", handle)
        return self.mask


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    properties = SimpleNamespace(uuid=UUID)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return fake


def found(said: list[str] | None = None) -> Gpu:
    gpu = Gpu.find(CUDA, ([] if said is None else said).append)
    assert gpu is not None
    return gpu


def test_a_gpu_is_read_by_its_uuid(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")  # cuda:0 is the driver's number 3
    nvml.handles = {"GPU-0": "another", **nvml.handles, "GPU-1": "another"}
    assert found().read() == Reading(1980, 2619, 412.345, 61, frozenset())
    assert {handle for _, handle in nvml.asked} == {"card"}
    nvml.mask = IDLE | HOT | CAPPED | 1 << 40
    assert found().reasons() == {"hw_thermal", "sw_power_cap"}


def test_every_reason_is_one_of_the_library() -> None:
    bits = [getattr(pynvml, name) for name in REASONS.values()]
    assert len(set(bits)) == len(bits)
    assert sum(bits) | IDLE == pynvml.nvmlClocksEventReasonAll


def test_of_a_mig_slice_its_card_is_read(nvml: FakeNvml) -> None:
    nvml.handles = {f"MIG-{UUID}": "slice"}
    assert found().read().clock_mhz == 1980
    assert {handle for what, handle in nvml.asked if what != "card"} == {"card"}


def test_a_mig_slice_that_tells_little_is_asked_once(nvml: FakeNvml) -> None:
    nvml.handles = {f"MIG-{UUID}": "slice"}
    nvml.refused = {"card", "clock", "power", "reasons"}
    said: list[str] = []
    gpu = found(said)
    assert gpu.read() == gpu.read() == Reading(celsius=61)
    assert [line.split(":")[0] for line in said] == [
        "NVML does not tell power",
        "NVML does not tell SM clock",
        "NVML does not tell memory clock",
        "NVML does not tell what holds clocks down",
    ]
    assert all("Insufficient Permissions" in line for line in said)
    assert {handle for _, handle in nvml.asked} == {"slice"}


def test_without_nvml_the_reason_is_said(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    nvml.handles = {}
    assert Gpu.find(CUDA, said.append) is None
    nvml.refused = {"UUID"}
    assert Gpu.find(CUDA, said.append) is None
    nvml.driver = False
    assert Gpu.find(CUDA, said.append) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpu.find(CUDA, said.append) is None
    reasons = ("Not Found", "Insufficient Permissions", "Driver Not Loaded", "pip install nvidia-")
    assert len(said) == len(reasons)
    assert all(reason in line for reason, line in zip(reasons, said, strict=True))


def test_a_module_of_another_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    older = SimpleNamespace(NVMLError=pynvml.NVMLError, nvmlInit=lambda: None, __file__="old/nvml")
    monkeypatch.setitem(sys.modules, "pynvml", older)
    said: list[str] = []
    assert Gpu.find(CUDA, said.append) is None
    (line,) = said
    assert "old/nvml is not of nvidia-ml-py" in line
    assert "pip uninstall pynvml" in line


def timed(nvml: FakeNvml, candidate: Callable[[], object]) -> Timing:
    """Screen a candidate beside a fixed call, during which nothing holds clocks down, after a
    window that was as usual."""

    def rest() -> float:
        nvml.mask = IDLE
        return 1.0

    clock = ScriptedClock()
    sentinel = Sentinel(rest, clock, found())  # type: ignore[arg-type]
    sentinel.watch(lambda: Timing(1.0, 0.0, 1))
    return screen_steadily(candidate, clock, QUICK, None, sentinel)  # type: ignore[arg-type]


def test_a_window_says_what_was_seen(nvml: FakeNvml) -> None:
    asked: list[int] = []

    def run() -> float:
        nvml.mask = pynvml.nvmlClocksEventReasonApplicationsClocksSetting
        asked.append(len(nvml.asked))
        return 2.0

    timing = timed(nvml, run)
    assert timing == Timing(
        2.0,
        0.0,
        QUICK.samples,
        clock_mhz=1980,
        watts=412.345,
        throttled=("application_clocks",),
        tries=1,
    )
    assert len(set(asked)) == 1, "the driver was asked while the candidate ran"
    assert Timing.from_json({**vars(timing), "throttled": ["application_clocks"]}) == timing


def test_a_window_that_was_too_hot_is_timed_again(nvml: FakeNvml) -> None:
    calls = 0

    def cools_down() -> float:
        nonlocal calls
        calls += 1
        hot = calls <= 1 + QUICK.samples
        nvml.mask = HOT if hot else IDLE
        return 4.0 if hot else 2.0

    timing = timed(nvml, cools_down)
    assert (timing.median_ms, timing.throttled, timing.tries) == (2.0, (), 2)


def test_a_gpu_that_stays_hot_is_recorded(nvml: FakeNvml) -> None:
    def is_hot() -> float:
        nvml.mask = HOT
        return 4.0

    timing = timed(nvml, is_hot)
    assert (timing.median_ms, timing.throttled, timing.tries) == (4.0, ("hw_thermal",), TRIES)
    assert timing.is_disturbed


@pytest.mark.parametrize(("mhz", "tries", "drift"), [(1900, 1, 1980 / 1900), (1600, 3, 1.2375)])
def test_a_power_cap_disturbs_where_the_clock_falls(
    nvml: FakeNvml, mhz: int, tries: int, drift: float
) -> None:
    def draws_much() -> float:
        nvml.mask, nvml.mhz[nvml.NVML_CLOCK_SM] = CAPPED, mhz
        return 2.0

    timing = timed(nvml, draws_much)
    assert (timing.tries, timing.throttled) == (tries, ("sw_power_cap",))
    assert timing.drift == pytest.approx(drift)


def test_a_lower_clock_without_a_cap_is_left_to_the_fixed_call(nvml: FakeNvml) -> None:
    def slows_down() -> float:
        nvml.mhz[nvml.NVML_CLOCK_SM] = 1200
        return 2.0

    timing = timed(nvml, slows_down)
    assert (timing.clock_mhz, timing.drift, timing.tries) == (1200, 1.0, 1)


def test_a_cap_without_a_clock_is_noted(nvml: FakeNvml) -> None:
    nvml.refused = {"clock"}

    def draws_much() -> float:
        nvml.mask = CAPPED
        return 2.0

    timing = timed(nvml, draws_much)
    assert (timing.clock_mhz, timing.watts, timing.drift) == (None, 412.345, 1.0)
    assert (timing.throttled, timing.tries) == (("sw_power_cap",), 1)


def test_timings_of_earlier_versions_are_read() -> None:
    old = {"median_ms": 2.0, "spread_ms": 0.1, "samples": 20, "aborted": False}
    assert Timing.from_json(old) == Timing(2.0, 0.1, 20)
    for wrong in ({}, {**old, "clock_mhz": "fast"}, {**old, "throttled": "hot"}):
        with pytest.raises(ValueError, match="Timing"):
            Timing.from_json(wrong)


def test_doctor_says_what_nvml_tells(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    row = hardware.named("nvidia_h100_80gb_hbm3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(hardware, "detect", lambda device="cpu": row)

    def finding() -> doctor.Finding:
        return next(found for found in doctor.examine() if found.subject == "nvml")

    plain = "cuda:0: SM clock 1980 MHz; memory clock 2619 MHz; power 412 W; temperature 61 C"
    assert (finding().state, finding().text) == ("ok", plain)
    nvml.mask = CAPPED
    assert (finding().state, finding().text) == ("ok", f"{plain}; clocks held down: sw_power_cap")
    nvml.mask, nvml.refused = HOT, {"power"}
    assert finding().state == "note"
    assert "clocks held down: hw_thermal; NVML does not tell power: Insuff" in finding().text
    nvml.driver = False
    assert finding().state == "note"
    assert "Driver Not Loaded; the tuner sees disturbances by a timed call" in finding().text
