"""Two exports of one small shape, made once: for this machine's CPU and for a GPU not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.folders import run_export


@pytest.fixture(scope="session")
def cpu_folder(tmp_path_factory: pytest.TempPathFactory, own_folders: None) -> Path:
    """Forward and backward for this CPU, with the runtime beside them."""
    out = tmp_path_factory.mktemp("export") / "cpu"
    return run_export(out, "--target", "cpu", "--passes", "both", "--bundle")


@pytest.fixture(scope="session")
def gpu_folder(tmp_path_factory: pytest.TempPathFactory, own_folders: None) -> Path:
    """Forward and backward for an H100: bf16, with tensor descriptors and atomic adds."""
    out = tmp_path_factory.mktemp("export") / "gpu"
    arguments = ("--target", "sm_90", "--passes", "both", "--name", "far_kernels")
    return run_export(out, *arguments, shape="L=8192,Hq=16,H=1,D=128,S=64,K=32")
