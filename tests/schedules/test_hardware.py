"""Hardware rows: complete, found by name or architecture, and built for this machine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hsa_compiler.schedules import hardware


def test_rows_are_plausible_and_found_by_slug_and_name() -> None:
    assert "nvidia_h100_80gb_hbm3" in hardware.ROWS
    for slug, row in hardware.ROWS.items():
        assert row.slug == slug
        assert hardware.named(slug) is hardware.named(row.name) is row
        assert row.shared_per_block <= row.shared_per_unit
        assert row.dram_bandwidth < row.l2_bandwidth
        assert row.fp32_rate < row.bf16_rate
        assert row.rate("fp16") == row.bf16_rate
        assert row.rate("fp64") < row.rate("fp32")
    for arch, slug in hardware.BY_ARCH.items():
        assert hardware.ROWS[slug].arch == arch


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("NVIDIA A100-SXM4-40GB", "sm_80"),
        ("NVIDIA A100-SXM4-80GB", "sm_80"),
        ("NVIDIA A100-PCIE-40GB", "sm_80"),
        ("NVIDIA A100 80GB PCIe", "sm_80"),
        ("NVIDIA GeForce RTX 4090", "sm_89"),
        ("NVIDIA L40S", "sm_89"),
        ("NVIDIA H100 PCIe", "sm_90"),
        ("NVIDIA H100 80GB HBM3", "sm_90"),
        ("NVIDIA H200", "sm_90"),
        ("NVIDIA B200", "sm_100"),
    ],
)
def test_devices_have_rows_under_their_drivers_names(name: str, arch: str) -> None:
    row = hardware.named(name)
    same = hardware.of_arch(arch)
    assert (row.name, row.arch) == (name, arch)
    # What an architecture fixes, whatever the product.
    for fixed in ("shared_per_block", "shared_per_unit", "registers_per_unit", "threads_per_unit"):
        assert getattr(row, fixed) == getattr(same, fixed)


@pytest.mark.parametrize(
    ("arch", "row"),
    [
        ("sm_90", "nvidia_h100_80gb_hbm3"),
        ("sm_86", "nvidia_a100_sxm4_80gb"),
        ("sm_120", "nvidia_b200"),
    ],
)
def test_an_unknown_architecture_borrows_an_older_row(arch: str, row: str) -> None:
    assert hardware.of_arch(arch).slug == row


@pytest.mark.parametrize("name", ["sm_70", "a toaster"])
def test_what_has_no_row_is_named(name: str) -> None:
    with pytest.raises(KeyError, match="no hardware row"):
        hardware.named(name)


def test_slugs_of_cpus_start_with_cpu() -> None:
    assert hardware.device_slug("AMD EPYC 9654 96-Core", "cpu") == "cpu_amd_epyc_9654_96_core"
    row = hardware.detect("cpu")
    assert row is hardware.host_cpu() is hardware.named("cpu")
    assert row.slug.startswith("cpu_")
    assert row.units >= 1
    assert row.memory_bytes > 1e8
    assert row.fp32_rate > 1e9
    assert "-" in row.arch


def fake_gpu(monkeypatch: pytest.MonkeyPatch, **properties: object) -> hardware.Hardware:
    found = SimpleNamespace(max_threads_per_multi_processor=1536, **properties)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: found)
    hardware._detect_cuda.cache_clear()
    try:
        return hardware.detect("cuda:0")
    finally:
        hardware._detect_cuda.cache_clear()


def test_a_gpu_without_a_row_gets_its_drivers_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    row = fake_gpu(
        monkeypatch,
        name="NVIDIA GeForce RTX 4080",
        major=8,
        minor=9,
        multi_processor_count=71,
        shared_memory_per_block_optin=101376,
        L2_cache_size=64 << 20,
        total_memory=16 << 30,
        memory_clock_rate=11_000_000,
        memory_bus_width=256,
    )
    assert row.slug == "nvidia_geforce_rtx_4080"
    assert row.arch == "sm_89"
    assert row.units == 71
    assert row.memory_bytes == 16 << 30
    assert row.dram_bandwidth == pytest.approx(704e9)
    assert row.bf16_rate == pytest.approx(hardware.named("sm_89").bf16_rate * 71 / 142)


def test_a_gpu_with_a_row_keeps_its_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    row = fake_gpu(
        monkeypatch,
        name="NVIDIA H100 80GB HBM3",
        major=9,
        minor=0,
        multi_processor_count=132,
        total_memory=80 << 30,
        memory_clock_rate=1,
        memory_bus_width=1,
    )
    assert row.slug == "nvidia_h100_80gb_hbm3"
    assert row.dram_bandwidth == hardware.ROWS[row.slug].dram_bandwidth


def test_calibration_measures_this_machine() -> None:
    row = hardware.calibrated(hardware.host_cpu(), "cpu", seconds=0.02)
    assert row.fp32_rate > 1e9
    assert row.dram_bandwidth > 1e8
    assert row.slug == hardware.host_cpu().slug
