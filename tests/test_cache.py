"""The kernel cache: files named by content, bounded, and safe between processes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from hsa_compiler.cache import KernelCache, cache_key, default_cache, set_default_cache
from hsa_compiler.errors import BackendError
from hsa_compiler.schedules.problem import Target
from hsa_compiler.schedules.schedule import Schedule

KEY = cache_key("program", Schedule(), Target("triton", "sm_90"), "triton 3.7.1")


def test_the_key_depends_on_everything() -> None:
    others = [
        cache_key("program 2", Schedule(), Target("triton", "sm_90"), "triton 3.7.1"),
        cache_key("program", Schedule(warps=8), Target("triton", "sm_90"), "triton 3.7.1"),
        cache_key("program", Schedule(), Target("triton", "sm_80"), "triton 3.7.1"),
        cache_key("program", Schedule(), Target("triton", "sm_90"), "triton 3.8.0"),
    ]
    assert len({KEY, *others}) == 5
    assert len(KEY) == 16


def test_a_file_is_stored_once_and_found(tmp_path: Path) -> None:
    cache = KernelCache(tmp_path / "new")
    assert cache.find("attend", KEY) is None
    path = cache.store("attend", KEY, "x = 1\n")
    assert path.name == f"attend_{KEY}.py"
    assert path.read_text() == "x = 1\n"
    os.utime(path, (1, 1))
    before = path.stat().st_ino
    assert cache.store("attend", KEY, "x = 1\n") == path
    assert path.stat().st_ino == before, "the same content is not written again"
    assert path.stat().st_mtime > 1, "but marked as used"
    assert cache.find("attend", KEY) == path
    cache.store("attend", KEY, b"x = 2\n")
    assert path.read_text() == "x = 2\n"


def test_entries_and_clearing(tmp_path: Path) -> None:
    cache = KernelCache(tmp_path)
    cache.store("attend_grad_q", KEY, "1")
    cache.store("attend", KEY, "22")
    cache.store("attend", KEY, b"\x7fELF", suffix=".so")
    assert {e.kernel for e in cache.entries()} == {"attend", "attend_grad_q"}
    assert cache.size() == 7
    assert cache.clear(["attend"]) == 2
    assert [e.kernel for e in cache.entries()] == ["attend_grad_q"]
    assert cache.clear() == 1
    assert KernelCache(tmp_path / "missing").clear() == 0


def test_files_of_someone_else_are_never_removed(tmp_path: Path) -> None:
    names = ("test_main.py", "my_notes.txt", f".new_{KEY}", "lib_0123.so", f"attend_{KEY}")
    for name in names:
        (tmp_path / name).write_text("precious")
    cache = KernelCache(tmp_path, max_bytes=1)
    path = cache.store("attend", KEY, "22")
    library = path.with_name(f"{path.stem}.f99c8e27.so")
    library.write_text("built beside it")
    assert [entry.kernel for entry in cache.entries()] == ["attend", "attend"]
    assert cache.clear() == 2
    assert {file.name for file in tmp_path.iterdir()} == {*names, ".lock"}


def test_the_least_recently_used_files_go_first(tmp_path: Path) -> None:
    cache = KernelCache(tmp_path, max_bytes=25)
    for number, name in enumerate("abc"):
        path = cache.store(name, KEY, "0123456789" if name != "c" else "01234")
        os.utime(path, (number + 1, number + 1))
    assert cache.find("a", KEY) is not None, "using a file keeps it"
    cache.store("d", KEY, "0123456789")
    assert {e.kernel for e in cache.entries()} == {"a", "c", "d"}
    cache.store("e", KEY, "x" * 100)
    assert {e.kernel for e in cache.entries()} == {"e"}, "what was just written stays"


def _store_many(folder: Path) -> None:
    cache = KernelCache(folder, max_bytes=500)
    for number in range(60):
        cache.store(f"k{number % 20}", KEY, str(number) * 20)


def test_processes_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_store_many, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert KernelCache(tmp_path).size() <= 540
    assert not list(tmp_path.glob(".new-*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BackendError, match="the kernel cache cannot be written"):
        KernelCache(tmp_path / "file").store("attend", KEY, "x")
    (tmp_path / "kernels" / ".lock").mkdir(parents=True)
    with pytest.raises(BackendError, match="the kernel cache cannot be written"):
        KernelCache(tmp_path / "kernels").clear()


def test_the_default_cache_can_be_replaced(tmp_path: Path) -> None:
    cache = KernelCache(tmp_path)
    set_default_cache(cache)
    assert default_cache() is cache
    set_default_cache(None)
    assert default_cache().folder.name == "kernels"
