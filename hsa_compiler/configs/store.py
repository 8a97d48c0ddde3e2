"""Files of tuned configs: where they are, how they are read, checked and written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from hsa_compiler.configs.schema import SCHEMA_VERSION, DeviceRecord, Entry, KernelConfig
from hsa_compiler.errors import ConfigError
from hsa_compiler.folders import config_folder, write_whole

LOCK_SECONDS = 30.0

Record = TypeVar("Record", bound=BaseModel)

log = logging.getLogger("hsa_compiler.configs")


def user_folder() -> Path:
    """The user's own tuned configs, read before the packaged ones."""
    return config_folder() / "configs"


def packaged_folder() -> Path | None:
    """The tuned configs that ship with the package, or None where they were removed."""
    try:
        folder = Path(str(resources.files("hsa_compiler.tuned_configs")))
    except ModuleNotFoundError:
        return None
    return folder if folder.is_dir() else None


def config_path(folder: Path, slug: str, kernel: str) -> Path:
    """``folder/<device slug>/<kernel>.json``."""
    return folder / slug / f"{kernel}.json"


def load_config(path: Path) -> KernelConfig:
    """Read and check one file.

    Raises:
        ConfigError: naming the file and the field, for anything but a valid file of this schema.
    """
    config = read_record(path, KernelConfig, SCHEMA_VERSION, "tune again")
    if path.name != f"{config.kernel}.json":
        raise ConfigError(f"{path}: kernel: {config.kernel!r} belongs in {config.kernel}.json")
    return config


def read_record(path: Path, model: type[Record], version: int, advice: str) -> Record:
    """A JSON file with a ``schema_version`` as a typed record.

    Raises:
        ConfigError: naming the file and the field, for anything else, with `advice` on what to do
            about another version.
    """
    if path.exists() and not path.is_file():
        # Reading a pipe or a device would wait for ever.
        raise ConfigError(f"{path}: cannot be read: not a file")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected an object, got {type(data).__name__}")
    found = data.get("schema_version")
    if found != version:
        raise ConfigError(
            f"{path}: schema_version: this version reads {version}, the file has "
            f"{found!r}; {advice}, or use the release that wrote it"
        )
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path}: {fields_of(error)}") from error


def fields_of(error: ValidationError, limit: int = 3) -> str:
    """``entries.0.time.median_ms: Input should be greater than 0``, the first few of them."""
    found = error.errors(include_url=False)
    lines = [
        ".".join(map(str, item["loc"])) + (": " if item["loc"] else "") + item["msg"]
        for item in found[:limit]
    ]
    if len(found) > limit:
        lines.append(f"and {len(found) - limit} more")
    return "; ".join(lines)


def merge_entries(folder: Path, device: DeviceRecord, entries: Sequence[Entry]) -> list[Path]:
    """Add tuned entries to a folder; an entry of the same class and locality is replaced.

    Each file is rewritten in one step under a lock, so tuners may share a folder. A file that
    cannot be read is kept beside the new one as ``<kernel>.json.bad``, with a warning.

    Returns:
        the files written, one per kernel.

    Raises:
        ConfigError: when the folder cannot be written or stays locked.
    """
    written = []
    for kernel in sorted({entry.shape.kernel for entry in entries}):
        path = config_path(folder, device.slug, kernel)
        fresh = [entry for entry in entries if entry.shape.kernel == kernel]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.parent / ".lock", timeout=LOCK_SECONDS):
                config = _merged(path, device, kernel, fresh)
                text = json.dumps(config.model_dump(mode="json"), indent=1, sort_keys=False)
                write_whole(path, f"{text}\n".encode())
        except Timeout as error:
            raise ConfigError(
                f"{path}: still locked after {LOCK_SECONDS:.0f} s by another process"
            ) from error
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
        written.append(path)
    return written


def _merged(path: Path, device: DeviceRecord, kernel: str, fresh: Iterable[Entry]) -> KernelConfig:
    by_key: dict[tuple[Any, ...], Entry] = {}
    if path.exists():
        try:
            by_key = {entry.key(): entry for entry in load_config(path).entries}
        except ConfigError as error:
            aside = path.with_suffix(".json.bad")
            log.warning(f"{error}. It is kept as {aside.name}; a new file takes its place.")
            path.replace(aside)
    by_key.update({entry.key(): entry for entry in fresh})
    ordered = tuple(by_key[key] for key in sorted(by_key))
    return KernelConfig(
        schema_version=SCHEMA_VERSION, kernel=kernel, device=device, entries=ordered
    )
