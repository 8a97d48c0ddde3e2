"""``hsa-compiler configs list|show|verify|retest|export``: the tuned configs.

hsa-compiler configs list
hsa-compiler configs show nvidia_h100_80gb_hbm3/attend
hsa-compiler configs verify tuned_configs/
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from hsa_compiler.cli.configs_export import export
from hsa_compiler.cli.configs_retest import retest
from hsa_compiler.cli.options import AsJson, Folder
from hsa_compiler.cli.output import print_json, print_table
from hsa_compiler.configs import (
    ConfigStore,
    Entry,
    KernelConfig,
    load_config,
    packaged_folder,
    user_folder,
)
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules import legality
from hsa_compiler.schedules.schedule import IllegalSchedule

app = typer.Typer(no_args_is_help=True)
app.command("retest")(retest)
app.command("export")(export)


@app.command("list")
def list_command(folder: Folder = None, as_json: AsJson = False) -> None:
    """List every config file: the device, the kernel, and how many shape classes it holds."""
    store = ConfigStore(folder or None)
    rows = []
    for path in store.files():
        try:
            config = load_config(path)
        except ConfigError as error:
            rows.append(_file_row(path, "not valid", None, None, str(error)))
            continue
        dates = sorted(entry.provenance.date[:10] for entry in config.entries)
        rows.append(
            _file_row(path, "ok", len(config.entries), dates[-1] if dates else None, str(path))
        )
    folders = ", ".join(map(str, store.folders))
    print_table(
        "Tuned configs, in the order in which they are read",
        rows,
        as_json,
        empty=f"No tuned configs in {folders}: kernels use the cost model's plan. "
        "Run `hsa-compiler autotune`.",
    )


def _file_row(
    path: Path, state: str, classes: int | None, tuned: str | None, file: str
) -> dict[str, Any]:
    return {
        "device": path.parent.name,
        "kernel": path.stem,
        "state": state,
        "classes": classes,
        "tuned": tuned,
        "file": file,
    }


@app.command("show")
def show_command(
    which: Annotated[str, typer.Argument(help="DEVICE/KERNEL, KERNEL, DEVICE, or a file's path.")],
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Print the entries of config files: shape class, schedule, times and evidence."""
    paths = _find(which, ConfigStore(folder or None))
    configs = [(path, load_config(path)) for path in paths]
    if as_json:
        print_json([{"file": str(p), **config.model_dump(mode="json")} for p, config in configs])
        return
    for path, config in configs:
        rows = [_entry_row(entry) for entry in config.entries]
        print_table(f"{config.kernel} on {config.device.name} ({path})", rows, False)
    entries = [entry for _, config in configs for entry in config.entries]
    if entries:
        typer.echo(f"{len(entries)} entries, geometric means of the gains: {_gains(entries)}")


def _gains(entries: Iterable[Entry]) -> str:
    """How many times as fast entries are as both defaults."""
    found = {
        "generic": [entry.gain_over_default.ratio for entry in entries],
        "planned": [e.gain_over_planned.ratio for e in entries if e.gain_over_planned],
    }
    means = {name: statistics.geometric_mean(gains) for name, gains in found.items() if gains}
    return ", ".join(f"{mean:.2f}x over {name}" for name, mean in means.items())


def _find(which: str, store: ConfigStore) -> list[Path]:
    """The files that a name stands for. Raises InputError for a name of nothing."""
    if Path(which).is_file():
        return [Path(which)]
    found = [
        path
        for path in store.files()
        if which in (path.stem, path.parent.name, f"{path.parent.name}/{path.stem}")
    ]
    if not found:
        known = ", ".join(f"{path.parent.name}/{path.stem}" for path in store.files())
        raise InputError(f"no config {which!r}; there are: {known or 'none'}")
    return found


def _entry_row(entry: Entry) -> dict[str, Any]:
    gain = entry.gain_over_default
    planned = entry.gain_over_planned
    return {
        "shape class, schedule": f"{entry.shape}\n{entry.shape.variant}\n{entry.as_schedule()}",
        "ms": entry.time.median_ms,
        "default_ms": entry.default.time.median_ms,
        "gain": f"{gain.ratio:.2f}\n{gain.low:.2f}-{gain.high:.2f}",
        "over_planned": f"{planned.ratio:.2f}" if planned else None,
        "roofline": f"{100 * entry.roofline:.0f} %" if entry.roofline is not None else None,
        "selection": f"{entry.locality.name} {entry.locality.union:.2f}",
    }


@app.command("verify")
def verify_command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders; without any, all that are in use."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check config files; exit code 1 when one is not valid."""
    rows = [_verdict(path) for path in _files_of(paths)]
    print_table("Config files", rows, as_json, empty="No config files.")
    if any(row["state"] != "ok" for row in rows):
        raise typer.Exit(1)


def _files_of(paths: Iterable[Path] | None) -> list[Path]:
    if not paths:
        folders = [f for f in (user_folder(), packaged_folder()) if f is not None]
        return ConfigStore(folders).files()
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        found += sorted(path.rglob("*.json")) if path.is_dir() else [path]
    return found


def _verdict(path: Path) -> dict[str, Any]:
    try:
        problems = _faults(path, load_config(path))
    except ConfigError as error:
        problems = [str(error)]
    return {
        "file": str(path),
        "state": "not valid" if problems else "ok",
        "reason": "; ".join(problems) or None,
    }


def _faults(path: Path, config: KernelConfig) -> list[str]:
    """What the schema cannot see: the folder's name, and schedules no kernel could have."""
    faults = []
    if path.parent.name != config.device.slug:
        faults.append(f"device.slug: {config.device.slug!r} in folder {path.parent.name!r}")
    seen: dict[Any, int] = {}
    for index, entry in enumerate(config.entries):
        first = seen.setdefault(entry.key(), index)
        if first != index:
            faults.append(f"entries.{index}: of the same class and selection as entries.{first}")
        try:
            legality.check_knobs(config.kernel, entry.as_schedule(), entry.shape.backend)
        except IllegalSchedule as error:
            faults.append(f"entries.{index}.schedule: {error}")
    return faults
