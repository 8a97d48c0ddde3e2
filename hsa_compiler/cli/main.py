"""The ``hsa-compiler`` command: a table of commands, each imported only when it is asked for.

Exit codes: 0 done, 1 a check failed, 2 bad input.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from hsa_compiler import __version__
from hsa_compiler.errors import HSAError
from hsa_compiler.ir import IRError
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.threads import settle_openmp

#: Errors that say what the user can do; shown as one line, without a traceback.
EXPECTED = (HSAError, IllegalSchedule, IRError)


@dataclass(frozen=True)
class Command:
    """Where a command lives: an attribute of a module, a function or a `typer.Typer`."""

    name: str
    module: str
    attribute: str
    help: str


COMMANDS = (
    Command(
        "autotune",
        "hsa_compiler.cli.autotune",
        "autotune",
        "Find the fastest schedules on this machine and write them as tuned configs.",
    ),
    Command(
        "pareto",
        "hsa_compiler.cli.pareto",
        "pareto",
        "Search chunk size, top-k and retrieval heads for latency against quality.",
    ),
    Command(
        "bench",
        "hsa_compiler.cli.bench",
        "bench",
        "Time this project's kernels beside their peers and write the results.",
    ),
    Command(
        "report",
        "hsa_compiler.cli.report",
        "report",
        "Show a tuning study as one HTML page that needs no network, or list the studies.",
    ),
    Command(
        "show",
        "hsa_compiler.cli.show",
        "show",
        "Print a program at any stage of the compiler, down to the generated source.",
    ),
    Command(
        "export",
        "hsa_compiler.cli.export",
        "export",
        "Compile the kernels ahead of time into a folder that runs without this package.",
    ),
    Command(
        "replay",
        "hsa_compiler.cli.replay",
        "replay",
        "Compare searches on a recorded study, without its device.",
    ),
    Command(
        "plan",
        "hsa_compiler.cli.plan",
        "plan",
        "Rank schedules for a device that need not be here, by the cost model.",
    ),
    Command(
        "doctor",
        "hsa_compiler.cli.doctor",
        "doctor",
        "Say what this machine has, and what will be used and why.",
    ),
    Command(
        "configs",
        "hsa_compiler.cli.configs_commands",
        "app",
        "List, show, verify, retest and export tuned configs.",
    ),
    Command(
        "cache",
        "hsa_compiler.cli.cache_commands",
        "app",
        "List or clear the generated kernels.",
    ),
    Command(
        "train",
        "hsa_compiler.cli.model_commands",
        "train",
        "Train a model on text files or the synthetic task.",
    ),
    Command(
        "generate",
        "hsa_compiler.cli.model_commands",
        "generate",
        "Continue a prompt with a trained model.",
    ),
    Command(
        "eval",
        "hsa_compiler.cli.model_commands",
        "eval_app",
        "Measure a trained model, e.g. needle retrieval.",
    ),
    Command(
        "trace",
        "hsa_compiler.cli.trace",
        "trace",
        "Record which chunks a trained model selects, to tune on them.",
    ),
)


def build(requested: str | None) -> typer.Typer:
    """The command line with one command's module imported, or none.

    The others stand in the help with their line from the table, so that `--version` and `--help`
    import neither torch nor a compiler.
    """
    app = typer.Typer(
        help="A compiler, autotuner and runtime for Hierarchical Sparse Attention.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for command in COMMANDS:
        target = _load(command) if command.name == requested else _unloaded
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=command.name, help=command.help)
        else:
            app.command(command.name, help=_help_of(target, command))(target)
    return app


def _help_of(target: Any, command: Command) -> str:
    return command.help if target is _unloaded else (target.__doc__ or command.help)


def _unloaded() -> None:
    """Stands for a command that was not asked for; only its help line is ever shown."""


def _load(command: Command) -> Any:
    return getattr(importlib.import_module(command.module), command.attribute)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"hsa-compiler {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """The options before a command."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code."""
    names = {command.name for command in COMMANDS}
    requested = next((word for word in arguments if not word.startswith("-")), None)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        build(requested if requested in names else None)(
            args=list(arguments), prog_name="hsa-compiler"
        )
    except EXPECTED as error:
        message = " ".join(str(error).split())
        Console(stderr=True).print(
            f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True
        )
        return 2
    except KeyboardInterrupt:
        return 130  # while a command was still being imported; Click ends a running one likewise
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0


def run() -> None:
    """The console script."""
    settle_openmp()
    sys.exit(main(sys.argv[1:]))
