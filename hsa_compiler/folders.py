"""Where a user's files live: tuned configs and the kernel cache, outside any checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

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


def _base(xdg: str, unix: str, mac: str, windows: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or Path.home() / "AppData") / APP
    if sys.platform == "darwin":
        return Path.home() / mac / APP
    return Path(os.environ.get(xdg) or Path.home() / unix) / APP
