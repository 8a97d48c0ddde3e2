"""Packaging: wheel and sdist hold everything, every way to import finds it, bare names are refused.

Nothing is installed and no network is used: the build back end runs in a copy of the sources, and
the wheel is unpacked where a fresh interpreter finds it before the checkout.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

FOLDERS = ("ir", "schedules", "tuned_configs", "model", "benchmarks")
ROOT = Path(__file__).resolve().parent.parent.parent


def run(code: str, cwd: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def settings() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def packages() -> Sequence[str]:
    return settings()["packages"]  # type: ignore[return-value]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A copy of the sources -> an sdist -> a wheel built from that sdist, unpacked."""
    base = tmp_path_factory.mktemp("packaging")
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "runs"
    )
    shutil.copytree(ROOT, base / "source", ignore=ignored)
    build = "from setuptools import build_meta as b; print(b.build_{}({!r}))"
    run(build.format("sdist", str(base)), base / "source")
    (sdist,) = base.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(base / "sdist", filter="data")
    (unpacked,) = (base / "sdist").iterdir()
    run(build.format("wheel", str(base)), unpacked)
    (wheel,) = base.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(base / "site")
    return {"sdist": unpacked, "wheel": wheel, "site": base / "site"}


def sources() -> set[str]:
    """Every module of the project by its installed path."""
    found = {str(p.relative_to(ROOT)) for p in (ROOT / "hsa_compiler").rglob("*.py")}
    for folder in FOLDERS:
        found |= {f"hsa_compiler/{p.relative_to(ROOT)}" for p in (ROOT / folder).rglob("*.py")}
    return found


def test_every_folder_with_modules_is_a_package() -> None:
    mapped = settings()["package-dir"]
    assert set(mapped.values()) == set(FOLDERS)  # type: ignore[attr-defined]
    expected = {str(Path(path).parent).replace("/", ".") for path in sources()}
    assert expected == set(packages())


def test_the_wheel_holds_every_module_and_config(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = set(archive.namelist())
    assert sources() <= names
    configs = {
        f"hsa_compiler/{path.relative_to(ROOT)}"
        for path in (ROOT / "tuned_configs").glob("*/*.json")
    }
    assert configs <= names
    others = ("py.typed", "export/launch.c", "report/page.html")
    assert {f"hsa_compiler/{name}" for name in others} <= names
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"hsa_compiler"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_can_be_worked_in(built: dict[str, Path]) -> None:
    for name in ("Makefile", "constraints.txt", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"):
        assert (built["sdist"] / name).is_file(), name


def test_every_package_imports_from_the_wheel(built: dict[str, Path]) -> None:
    code = (
        "import importlib, pathlib, sys\n"
        f"site = {str(built['site'])!r}\n"
        "sys.path.insert(0, site)\n"
        f"for name in {list(packages())!r}:\n"
        "    module = importlib.import_module(name)\n"
        "    assert module.__file__.startswith(site), module.__file__\n"
        "from importlib import resources\n"
        "folder = resources.files('hsa_compiler.tuned_configs')\n"
        "assert str(folder).startswith(site), folder\n"
        "import hsa_compiler\n"
        "assert len(hsa_compiler.__path__) == 1, hsa_compiler.__path__\n"
        "assert not {'tvm', 'triton'} & set(sys.modules), 'a compiler was imported'\n"
    )
    run(code, built["site"].parent)


def test_the_command_works_from_the_wheel(built: dict[str, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hsa_compiler", "--version"],
        cwd=built["site"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("hsa-compiler ")
    entry = next(built["site"].glob("*.dist-info/entry_points.txt")).read_text()
    assert "hsa-compiler = hsa_compiler.cli.main:run" in entry


def test_a_plain_checkout_works_uninstalled() -> None:
    code = (
        "import hsa_compiler.ir, hsa_compiler.schedules, hsa_compiler.tuned_configs\n"
        "from hsa_compiler.ir import Program\n"
        "from hsa_compiler.schedules.problem import KernelGroup\n"
        "import hsa_compiler.ir.core as core\n"
        "assert core.KernelGroup is KernelGroup\n"
        "print(hsa_compiler.ir.__file__)\n"
    )
    assert Path(run(code, ROOT).stdout.strip()) == ROOT / "ir" / "__init__.py"


@pytest.mark.parametrize("folder", FOLDERS)
def test_bare_imports_are_refused(folder: str) -> None:
    done = run(f"import {folder}", ROOT, check=False)
    assert done.returncode != 0
    assert f"import hsa_compiler.{folder}, not {folder}" in done.stderr


def test_importing_the_package_imports_no_compiler_and_no_torch() -> None:
    code = (
        "import sys, hsa_compiler\n"
        "assert hsa_compiler.__version__\n"
        "assert not {'torch', 'tvm', 'triton', 'optuna'} & set(sys.modules)\n"
    )
    run(code, ROOT)
