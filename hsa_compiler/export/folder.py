"""Writing an export: into a folder beside its place, which is renamed when everything is there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsa_compiler.errors import InputError, WriteError

#: Stands in every export: what ``--force`` may replace.
MANIFEST = "manifest.json"


def check_free(folder: Path, force: bool) -> None:
    """Raise `InputError` unless an export may be written to `folder`.

    `force` replaces an earlier export, never a folder that holds something else.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"--out {folder} is no folder: give another one")
    if not any(folder.iterdir()):
        return
    if not force:
        raise InputError(f"--out {folder} is not empty: give another folder, or --force")
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"--out {folder} holds no export ({MANIFEST} is missing): --force replaces exports "
            "alone; give another folder"
        )


@contextmanager
def written_whole(folder: Path, force: bool) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block ends without an error.

    Raises:
        InputError: `folder` is not free (`check_free`).
        WriteError: it cannot be written.
    """
    check_free(folder, force)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise WriteError(f"--out {folder}: cannot be written: {error.strerror}") from error
    try:
        yield fresh
        fresh.chmod(0o755)
        _take_place(fresh, folder)
    except OSError as error:
        raise WriteError(f"--out {folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _take_place(fresh: Path, folder: Path) -> None:
    """Rename `fresh` to `folder`; an export that stood there is put back where that fails."""
    if not folder.exists() or not any(folder.iterdir()):
        os.replace(fresh, folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    os.replace(folder, old)
    try:
        os.replace(fresh, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
