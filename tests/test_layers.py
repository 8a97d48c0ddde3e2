"""Imports run one way: ir <- schedules <- hsa_compiler <- model <- benchmarks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: A layer may import itself and what stands before it.
LAYERS = ("ir", "schedules", "hsa_compiler", "model", "benchmarks")
#: Only these may import the back ends.
HOMES = {"tvm": "hsa_compiler/codegen/", "triton": "hsa_compiler/codegen/"}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names that a file imports anywhere, with their lines."""
    folder = path.relative_to(ROOT).parent.parts
    package = ("hsa_compiler", *folder) if folder[0] != "hsa_compiler" else folder
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, node.module or "")).strip(".")
            yield module, node.lineno
            for alias in node.names:
                yield f"{module}.{alias.name}", node.lineno


def layer_of(name: str) -> str | None:
    """The layer an absolute name belongs to; None for other packages."""
    parts = name.split(".")
    if parts[0] != "hsa_compiler":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "hsa_compiler"


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_one_way(layer: str) -> None:
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    for path in modules(layer):
        relative = str(path.relative_to(ROOT))
        for name, line in imports(path):
            used = layer_of(name)
            if used is None or (used == "hsa_compiler" and name == "hsa_compiler"):
                continue
            if relative.startswith("hsa_compiler/cli/"):
                continue
            assert used in allowed, f"{relative}:{line} imports {name}"


def test_the_command_line_loads_the_model_by_name_only_inside_functions() -> None:
    for path in modules("hsa_compiler/cli"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                assert layer_of(node.module) not in ("model", "benchmarks"), (path, node.lineno)


@pytest.mark.parametrize("layer", ["ir", "schedules", "hsa_compiler", "model"])
def test_bare_folder_names_are_never_imported(layer: str) -> None:
    bare = {"ir", "schedules", "tuned_configs", "model", "benchmarks"}
    for path in modules(layer):
        for name, line in imports(path):
            assert name.split(".")[0] not in bare, f"{path.relative_to(ROOT)}:{line}: {name}"


@pytest.mark.parametrize("package", list(HOMES))
def test_one_package_knows_each_back_end(package: str) -> None:
    for layer in LAYERS:
        for path in modules(layer):
            relative = str(path.relative_to(ROOT))
            if relative.startswith(HOMES[package]):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in tree.body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names.append(node.module or "")
                for name in names:
                    assert name.split(".")[0] != package, f"{relative}:{node.lineno}: {name}"
