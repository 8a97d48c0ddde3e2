"""Exports that are damaged, or not for this machine: one clear error before anything runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hsa_compiler.export import loader


@pytest.fixture
def copy(cpu_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cpu_folder, tmp_path / "copy"))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and sign it anew."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps({**manifest, "digest": loader.digest(manifest)}))


def test_a_whole_export_loads_from_anywhere(copy: Path) -> None:
    assert next(iter(loader.load(copy).groups)) == "retrieve"


@pytest.mark.parametrize("file", ["libhsa.so", "hsa.h", "hsa.py", "sources/attend.py"])
def test_changed_truncated_and_missing_files(copy: Path, file: str) -> None:
    path = copy / file
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + b"\xff" + whole[middle + 1 :], b""):
        path.write_bytes(damaged)
        with pytest.raises(loader.ExportError, match=rf"{path.name}: is damaged .* export again"):
            loader.load(copy)
    path.unlink()
    with pytest.raises(loader.ExportError, match=rf"{path.name}: cannot be read: No such file"):
        loader.load(copy)


def test_damaged_manifests(copy: Path) -> None:
    path = copy / "manifest.json"
    whole = path.read_text()
    cases = {
        whole[: len(whole) // 2]: "is not JSON",
        "": "is not JSON",
        "[]": "has schema None, this loader reads 1",
        whole.replace('"schema": 1', '"schema": 2'): "has schema 2, this loader reads 1",
        whole.replace('"dtype": "fp32"', '"dtype": "fp16"', 1): "was changed after it was written",
        whole.replace('"groups"', '"grups"', 1): "was changed after it was written",
    }
    for text, message in cases.items():
        path.write_text(text)
        with pytest.raises(loader.ExportError, match=message):
            loader.load(copy)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(loader.ExportError, match="is not JSON"):
        loader.load(copy)
    path.unlink()
    with pytest.raises(loader.ExportError, match="cannot be read"):
        loader.load(copy)


def test_other_machines_and_versions(copy: Path) -> None:
    cases: list[tuple[Callable[[dict[str, Any]], object], str]] = [
        (lambda m: m["target"].update(machine="mips"), "compiled for mips, this machine is"),
        (lambda m: m["target"].update(machine=loader.platform.machine()), ""),
        (lambda m: m["target"].update(flags=["avx4096"]), "this CPU lacks avx4096"),
        (lambda m: m["target"].update(flags=[]), ""),
        (lambda m: m["versions"].update(tvm_ffi="9.9.0"), "pip install 'apache-tvm-ffi==9.9.0'"),
    ]
    for change, message in cases:
        rewrite(copy, change)
        if message:
            with pytest.raises(loader.ExportError, match=message):
                loader.load(copy)
        else:
            loader.load(copy)


@pytest.mark.parametrize(
    ("text", "number"),
    [("cdiv(L, 16) * B", 8), ("max(L - 99, 1)", 1), ("bits(L)", 6), ("min(B, 7) + C", 5), (3, 3)],
)
def test_sizes_are_evaluated(text: str | int, number: int) -> None:
    assert loader.evaluate(text, {"L": 50, "B": 2, "C": 3}) == number


@pytest.mark.parametrize("text", ["X", "L ** 9", "print(L)", "L.real", "L +", "'a'", "[1][0]"])
def test_nothing_else_is_evaluated(text: str) -> None:
    with pytest.raises(loader.ExportError, match="size"):
        loader.evaluate(text, {"L": 50})
