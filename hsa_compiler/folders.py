"""Where a user's files live: tuned configs and the kernel cache, outside any checkout."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from hsa_compiler.errors import ConfigError

APP = "hsa-compiler"


def config_folder() -> Path:
    """``~/.config/hsa-compiler``, or the platform's own place for configuration."""
    return _base("XDG_CONFIG_HOME", ".config", "Library/Application Support", "APPDATA")


def cache_folder() -> Path:
    """``~/.cache/hsa-compiler``, or the platform's own place for what can be rebuilt."""
    return _base("XDG_CACHE_HOME", ".cache", "Library/Caches", "LOCALAPPDATA")


def checkout_folder() -> Path | None:
    """The repository root when the package runs from a checkout, else None."""
    root = Path(__file__).resolve().parent.parent
    if (root / "pyproject.toml").is_file() and (root / "ir" / "__init__.py").is_file():
        return root
    return None


def require_writable(what: str, folder: Path, advice: str) -> None:
    """Make a folder where it is missing, and raise unless files can be written there.

    Raises:
        ConfigError: `what` and the folder, why not, and the advice.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{what} {folder}: cannot be written: {reason}; {advice}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader sees the old one or the new, never half of one.

    Raises OSError.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _base(xdg: str, unix: str, mac: str, windows: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or Path.home() / "AppData") / APP
    if sys.platform == "darwin":
        return Path.home() / mac / APP
    return Path(os.environ.get(xdg) or Path.home() / unix) / APP
