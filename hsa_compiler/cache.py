"""The kernel cache: generated sources (and what was built from them) as real files.

A file's name starts with the kernel's and holds the hash of everything that made it, so a person
can open it, step through it and profile it, and two versions never share one. Writing is atomic and
locked between processes; the least recently used files go when the folder passes its size cap.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from hsa_compiler import __version__
from hsa_compiler.errors import BackendError
from hsa_compiler.folders import cache_folder

MAX_BYTES = 512 * 1024 * 1024
LOCK_SECONDS = 30.0
#: ``<kernel>_<key>.py`` and what is built beside it, ``<kernel>_<key>.<digest>.so``. Files of any
#: other name in the folder are someone else's: never listed, never removed.
OURS = re.compile(r".+_[0-9a-f]{16}(\.[0-9a-f]+)?\.\w+")


@dataclass(frozen=True)
class CacheEntry:
    """One cached file: its size in bytes and when it was last used (seconds since the epoch)."""

    path: Path
    bytes: int
    used: float

    @property
    def kernel(self) -> str:
        """The kernel's name, the part of the file name before the hash."""
        return self.path.stem.rpartition("_")[0] or self.path.stem


def cache_key(program_text: str, schedule: object, target: object, *versions: str) -> str:
    """16 hex digits of a hash of the program's text, its schedule, target and versions.

    Give the versions of the compiler that builds the source (``"triton 3.7.1"``); the project's own
    is always part of the key.
    """
    parts = (program_text, repr(schedule), repr(target), __version__, *versions)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class KernelCache:
    """A folder of generated files.

    Args:
        folder: where; None means the user's cache folder.
        max_bytes: files are removed, the least recently used first, when all together are larger.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder() / "kernels"
        self.max_bytes = max_bytes

    def path(self, kernel: str, key: str, suffix: str = ".py") -> Path:
        """Where a kernel's file is or will be: ``<kernel>_<key><suffix>``."""
        return self.folder / f"{kernel}_{key}{suffix}"

    def store(self, kernel: str, key: str, content: str | bytes, suffix: str = ".py") -> Path:
        """Write a file unless the same content stands there already; return its path.

        Raises:
            BackendError: when the folder cannot be written or stays locked.
        """
        path = self.path(kernel, key, suffix)
        data = content.encode() if isinstance(content, str) else content
        with contextlib.suppress(OSError):  # not there, or removed by another process just now
            if path.read_bytes() == data:
                with contextlib.suppress(OSError):  # someone else's folder, which may be read
                    os.utime(path)
                return path
        with self._writing():
            _replace(path, data)
            self._trim(keep=path)
        return path

    def find(self, kernel: str, key: str, suffix: str = ".py") -> Path | None:
        """The path of a file that is there, marked as used now; else None."""
        path = self.path(kernel, key, suffix)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def entries(self) -> list[CacheEntry]:
        """All files, the most recently used first."""
        found = []
        for path in self.folder.glob("*_*.*") if self.folder.is_dir() else ():
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if OURS.fullmatch(path.name) and path.is_file():
                found.append(CacheEntry(path, stat.st_size, stat.st_mtime))
        return sorted(found, key=lambda entry: (-entry.used, entry.path.name))

    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.bytes for entry in self.entries())

    def clear(self, kernels: Iterable[str] | None = None) -> int:
        """Remove all files, or those of some kernels; the number removed.

        Raises:
            BackendError: when the folder cannot be written or stays locked.
        """
        wanted = None if kernels is None else set(kernels)
        if not self.folder.is_dir():
            return 0
        removed = 0
        with self._writing():
            for entry in self.entries():
                if wanted is None or entry.kernel in wanted:
                    entry.path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _trim(self, keep: Path) -> None:
        """Remove the least recently used files until the rest fits; never `keep`."""
        entries = self.entries()
        total = sum(entry.bytes for entry in entries)
        for entry in reversed(entries):
            if total <= self.max_bytes:
                return
            if entry.path != keep:
                entry.path.unlink(missing_ok=True)
                total -= entry.bytes

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the folder's lock; what goes wrong under it is a BackendError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise BackendError(
                f"{self.folder}: still locked after {LOCK_SECONDS:.0f} s by another process"
            ) from error
        except OSError as error:
            raise BackendError(
                f"{self.folder}: the kernel cache cannot be written ({error.strerror or error}); "
                "give another folder"
            ) from error


def _replace(path: Path, data: bytes) -> None:
    """Write in one step: a reader sees the old file or the new, never half of one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.utime(temporary, (time.time(), time.time()))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class _Default:
    """The process's cache; a class so that one name stays bound to one object."""

    cache: KernelCache | None = None


def default_cache() -> KernelCache:
    """The cache that compilation uses when none is given."""
    if _Default.cache is None:
        _Default.cache = KernelCache()
    return _Default.cache


def set_default_cache(cache: KernelCache | None) -> None:
    """Use another cache from now on; None goes back to the user's folder."""
    _Default.cache = cache
