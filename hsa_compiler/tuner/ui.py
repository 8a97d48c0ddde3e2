"""How a run looks: a live view on a terminal, plain lines elsewhere, and the final table."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hsa_compiler.schedules.schedule import KERNELS
from hsa_compiler.tuner.rematch import Retested
from hsa_compiler.tuner.results import KernelResult
from hsa_compiler.tuner.search import Search
from hsa_compiler.tuner.session import Outcome
from hsa_compiler.tuner.setting import Turn

#: Seconds between status lines where the output is no terminal.
LINE_EVERY = 10.0


@dataclass
class _State:
    """What the current kernel's line says."""

    turn: Turn
    stage: str = "starting"
    trials: int = 0
    best_ms: float | None = None
    share: float | None = None
    generic_ms: float | None = None
    failures: str = ""

    def read(self, search: Search, stage: str) -> None:
        """Take over the search's figures."""
        self.stage = stage
        self.trials = search.trials
        self.best_ms = search.best_ms
        self.share = search.best_share
        self.failures = describe_failures(search.failures)
        for trial in search.finished:
            if trial.schedule == self.turn.plan.generic:
                self.generic_ms = trial.median_ms

    def line(self) -> str:
        """One line: kernel, stage, trials, best so far, failures, time left."""
        turn = self.turn
        points = len(turn.plan.order)
        parts = [
            f"[{turn.number + 1}/{turn.total}] {turn.plan.task.kernel} "
            f"{turn.plan.task.shape.name}: {self.stage}",
            f"{self.trials} of {min(turn.limits.trials, points)} trials",
        ]
        if self.best_ms is not None:
            parts.append(f"best {milliseconds(self.best_ms)}")
            if self.generic_ms:
                parts.append(f"{self.generic_ms / self.best_ms:.2f}x the default's speed")
            if self.share is not None:
                parts.append(f"{self.share:.0%} of the roofline")
        if self.failures:
            parts.append(f"failed: {self.failures}")
        own, whole = (
            max(0.0, deadline - time.monotonic()) for deadline in (turn.deadline, turn.run_deadline)
        )
        parts.append(f"{own:.0f} s left, {whole:.0f} s of the run")
        return ", ".join(parts)


def make_console(stderr: bool = False) -> Console:
    """A console; where it is no terminal, wide enough for the table."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=120)


class Progress:
    """Shows a run on a console; a context manager, for the live view.

    On a terminal the current line is redrawn in place; elsewhere it is printed now and then.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: _State | None = None
        self._last_line = 0.0
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, turn: Turn) -> None:
        """A kernel's turn begins."""
        self._state = _State(turn)
        self._last_line = time.monotonic()
        self.tick()

    def update(self, search: Search, stage: str) -> None:
        """The search has moved."""
        if self._state is not None:
            self._state.read(search, stage)
        self.tick()

    def tick(self) -> None:
        """Redraw; called a few times a second while the worker is busy."""
        if self._state is None:
            return
        if self._live is not None:
            self._live.update(Group(Text(self._state.line(), style="cyan")))
        elif time.monotonic() - self._last_line >= LINE_EVERY:
            self._last_line = time.monotonic()
            self._print(self._state.line())

    def end(self, result: KernelResult) -> None:
        """A kernel is done: its line stays."""
        self._state = None
        self._print(summary(result))

    def raced(self, result: Retested, number: int, total: int) -> None:
        """A stored winner was raced again, or passed over."""
        self._print(f"[{number + 1}/{total}] {verdict(result)}")

    def note(self, text: str) -> None:
        """A remark that stays."""
        self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def summary(result: KernelResult) -> str:
    """One line on a finished kernel."""
    head = f"{result.kernel} {result.shape}: "
    failures = describe_failures(result.failures)
    tail = f", {result.trials} trials" + (f", failed: {failures}" if failures else "")
    if result.time_ms is None:
        return f"{head}{result.outcome}: {shortened(result.message, 120)}{tail}"
    text = f"{head}{milliseconds(result.time_ms)}"
    if result.outcome == "tuned":
        text += f", {gain(result)} over the default with {result.schedule}"
    else:
        text += f", the {result.shipped} schedule stands: nothing is shown to be faster"
    return text + tail


#: What a person reads of a stored winner's outcome.
VERDICTS = {
    "best": "still best",
    "even": "as fast as the best rival, within noise",
    "beaten": "beaten",
    "fails": "fails now",
    "skipped": "not raced",
}


def verdict(result: Retested) -> str:
    """One line on a stored winner."""
    text = f"{result.kernel} {result.shape} {result.locality}: {VERDICTS[result.outcome]}"
    if result.outcome == "beaten":
        text += f" by {result.by} {gain(result)}, {result.by_schedule}"
    if result.time_ms is not None:
        text += f", {milliseconds(result.time_ms)} ({moved(result)} of the recorded time)"
    return f"{text}: {shortened(result.message, 120)}" if result.message else text


def moved(result: Retested) -> str:
    """A winner's time now over the recorded one, ``1.03x``; empty where it was not timed."""
    return "" if result.time_ms is None else f"{result.time_ms / result.recorded_ms:.2f}x"


def results_table(outcome: Outcome) -> Table:
    """Default against tuned, one row per kernel and shape."""
    table = Table(
        title=f"{outcome.backend} on {outcome.device}, effort {outcome.effort}",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    # These two fold at their blanks in 80 columns; the others would lose digits.
    table.add_column("kernel, shape", min_width=max(map(len, KERNELS)))
    for name in ("default", "planned", "tuned", "gain (95 %)", "roofline", "trials"):
        table.add_column(name, justify="right", no_wrap=not name.startswith("gain"))
    table.add_column("ships", no_wrap=True)
    for result in outcome.results:
        share = f"{result.roofline:.0%}" if result.roofline is not None else ""
        table.add_row(
            f"{result.kernel} {result.shape}",
            milliseconds(result.generic_ms),
            milliseconds(result.planned_ms),
            milliseconds(result.time_ms),
            gain(result),
            share,
            str(result.trials),
            result.shipped or Text(result.outcome, style="red"),
        )
    if any((result.roofline or 0.0) > 1.0 for result in outcome.results):
        table.caption = "Above 100 % of the roofline: the data stays in a cache, not in memory."
    return table


def print_outcome(outcome: Outcome, console: Console) -> None:
    """The final table, what went wrong, and the files written."""
    console.print(results_table(outcome))
    lines = [
        f"{result.kernel} {result.shape} {result.outcome}: {shortened(result.message)}"
        for result in outcome.results
        if result.message
    ]
    lines += [
        f"{result.kernel} {result.shape}: {shortened(result.note)}"
        for result in outcome.results
        if result.note
    ]
    lines += [f"wrote {file}" for file in outcome.files]
    lines.append(f"{outcome.seconds:.0f} s; trials are kept in {outcome.storage}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def gain(result: KernelResult | Retested) -> str:
    """``1.32x (1.30-1.35)``."""
    if result.gain is None:
        return ""
    return f"{result.gain:.2f}x ({result.gain_low:.2f}-{result.gain_high:.2f})"


def milliseconds(value: float | None) -> str:
    """Three digits and a unit."""
    if value is None:
        return ""
    return f"{value:.3g} ms" if value >= 1 else f"{value * 1e3:.3g} us"


def describe_failures(failures: dict[str, int]) -> str:
    """``2 timeout_run, 1 wrong_result``."""
    return ", ".join(f"{count} {kind}" for kind, count in failures.items())


def shortened(text: str, limit: int = 300) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit else f"{words[:limit]}…"
