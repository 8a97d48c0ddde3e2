"""Which schedule a call gets, and why.

    exact         an entry of the same shape class on this device
    nearest       the nearest class on this device, at most `CAP` away
    far           the nearest class on this device, however far
    architecture  the nearest class on a device of the same architecture (warned about)
    planned       the cost model's best for this device
    generic       the literal default, where nothing was ever timed (Triton's interpreter)

In every tier the user's folder is read before the packaged one. A stored schedule that is not legal
for the problem at hand is refused with a message and never used; one tuned for another class gives
way to the plan when the cost model predicts it to be slower: much slower within the cap, at all
beyond it.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hsa_compiler.configs.forms import FormTimes, faster_form
from hsa_compiler.configs.schema import DeviceRecord, Entry, KernelConfig
from hsa_compiler.configs.shapes import ShapeClass, bucket
from hsa_compiler.configs.store import config_path, load_config, packaged_folder, user_folder
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules import space
from hsa_compiler.schedules.cost_model import Prediction, best, predict
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.hardware import Hardware
from hsa_compiler.schedules.problem import Problem, Target
from hsa_compiler.schedules.schedule import IllegalSchedule, Schedule
from hsa_compiler.schedules.workspace import check_workspace

CAP = 4.0
#: How many times as long as the plan a schedule of another shape class may be predicted to take:
#: within the cap, where its measured time speaks for it, and beyond, where only the model does. (A
#: schedule of 1K tokens took 68 ms at 128K where the plan took 28: it was predicted 1.23 times.)
NEAR_COST, FAR_COST = 1.25, 1.05

#: Kinds of selections, first the one whose entries are taken where no union was measured: whoever
#: recorded a trace did so for the calls that come.
WITHOUT_UNION = ("trace", "local", "random")

log = logging.getLogger("hsa_compiler.configs")


@dataclass(frozen=True)
class Choice:
    """A schedule with the tier that gave it, the file, and the distance in weighted octaves.

    Of an entry of the call's own shape class, `measured` is its time in seconds and `locality` the
    selections on which it was timed. `union` is that of the call's own selections, where it was
    measured.
    """

    schedule: Schedule
    tier: str
    source: Path | None
    distance: float
    reason: str
    measured: float | None = None
    locality: str = ""
    union: float | None = None

    def __str__(self) -> str:
        where = f" from {self.source}" if self.source else ""
        return f"{self.schedule} ({self.tier}{where}: {self.reason})"

    def noted(self, note: str) -> Choice:
        """The same with one more reason, where there is one."""
        return replace(self, reason=f"{self.reason}; {note}") if note else self


@dataclass(frozen=True)
class Winner:
    """An entry that calls of its class get, with its file and the device it was tuned on."""

    path: Path
    device: DeviceRecord
    entry: Entry


@dataclass(frozen=True)
class _Found:
    entry: Entry
    path: Path
    distance: float


class ConfigStore:
    """Folders of tuned configs, read once and remembered.

    `folders` are searched in order; None means the user's, then the packaged one. A missing folder
    is normal; a file that cannot be used is reported once and skipped.
    """

    def __init__(self, folders: Sequence[Path] | None = None) -> None:
        if folders is None:
            folders = [f for f in (user_folder(), packaged_folder()) if f is not None]
        self.folders = tuple(Path(folder) for folder in folders)
        self._files: dict[Path, KernelConfig | None] = {}
        self._choices: dict[Hashable, Choice] = {}
        self._said: set[str] = set()

    def choose(
        self,
        problem: Problem,
        sizes: Mapping[str, int],
        target: Target,
        hardware: Hardware,
        union: float | None = None,
    ) -> Choice:
        """The schedule for a call.

        `sizes` are the dynamic dims (``B``, ``L``, ``Lkv``, ``C``, ``R``) the kernel uses; `union`
        the measured union of 16 neighbouring tokens over K, where it is known: among entries of
        one class the one tuned nearest to it is taken, else one tuned on a trace, else the one
        tuned on local selections.
        Never raises for a broken or missing file.
        """
        union_bucket = None if union is None else round(2 * math.log2(max(union, 0.25)))
        # Hashing a whole program would cost more than a launch; its text's hash is kept.
        program = problem.group.program.hash
        key = (
            problem.kind,
            program,
            problem.dims,
            tuple((name, bucket(size)) for name, size in sizes.items()),
            target,
            hardware.name,
            union_bucket,
        )
        choice = self._choices.get(key)
        if choice is None:
            choice = self._search(problem, sizes, target, hardware, union)
            self._choices[key] = choice
        return choice

    def choose_form(self, forms: Mapping[str, FormTimes]) -> tuple[str, str]:
        """The form in which a program's kernels run, and why; the first where nothing is known."""
        return faster_form(forms)

    @property
    def choices(self) -> Mapping[Hashable, Choice]:
        """What was chosen so far, by call."""
        return dict(self._choices)

    def remember(self, choices: Mapping[Hashable, Choice]) -> None:
        """Take over what another process chose from the same folders."""
        self._choices.update(choices)

    def nearest_schedules(
        self, problem: Problem, sizes: Mapping[str, int], backend: str
    ) -> Iterator[Schedule]:
        """The tuned schedules of the nearest classes on any device, the nearest first, each once:
        where a search may begin. They need not be legal here."""
        wanted = ShapeClass.of(problem, sizes, backend)
        paths = [path for path in self.files() if path.stem == problem.kind]
        seen = set()
        for found in self._ranked(paths, wanted, math.inf, None):
            schedule = space.adapted(problem, found.entry.as_schedule())
            schedule = space.normal(problem, backend, schedule)
            if schedule not in seen:
                seen.add(schedule)
                yield schedule

    def entries(self) -> Iterator[tuple[Path, Entry]]:
        """Every readable entry of every folder, with its file."""
        for path in self.files():
            config = self.load(path)
            for entry in config.entries if config else ():
                yield path, entry

    def files(self) -> list[Path]:
        """Every config file of every folder, the user's first."""
        return [
            path
            for folder in self.folders
            if folder.is_dir()
            for path in sorted(folder.glob("*/*.json"))
        ]

    def winners(
        self, slug: str | None = None, kernels: Collection[str] | None = None
    ) -> list[Winner]:
        """The entries that exact lookups find, of one device or all, of some kernels or all: of
        one class and kind of selection the first, folder by folder.

        Raises:
            ConfigError: one of their files is not valid.
            InputError: there is none.
        """
        found: dict[Hashable, Winner] = {}
        for path in self.files():
            of_device = slug is None or path.parent.name == slug
            if of_device and (kernels is None or path.stem in kernels):
                config = load_config(path)
                for entry in config.entries:
                    winner = Winner(path, config.device, entry)
                    found.setdefault((path.parent.name, entry.key()), winner)
        if not found:
            named = f"{', '.join(kernels or ('any kernel',))} for {slug or 'any device'}"
            known = ", ".join(dict.fromkeys(path.parent.name for path in self.files()))
            raise InputError(
                f"no tuned configs of {named} in {', '.join(map(str, self.folders))}; devices "
                f"there: {known or 'none'}. Run `hsa-compiler autotune`, or give another --folder"
            )
        return list(found.values())

    def load(self, path: Path) -> KernelConfig | None:
        """One file, or None (said once) where it is missing or not valid."""
        if path not in self._files:
            self._files[path] = None
            if path.exists():
                try:
                    self._files[path] = load_config(path)
                except ConfigError as error:
                    self._say(f"{error}. This file is ignored.")
        return self._files[path]

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            log.warning(message)

    def _search(
        self,
        problem: Problem,
        sizes: Mapping[str, int],
        target: Target,
        hardware: Hardware,
        union: float | None,
    ) -> Choice:
        if target.arch == "interpret":
            schedule = generic(problem.kind, target.backend)
            return Choice(schedule, "generic", None, 0.0, "times mean nothing in the interpreter")
        wanted = ShapeClass.of(problem, sizes, target.backend)
        own = [config_path(folder, hardware.slug, problem.kind) for folder in self.folders]
        tiers = (
            ("exact", own, 0.0, "the same shape class"),
            ("nearest", own, CAP, "the nearest tuned class"),
            ("far", own, math.inf, "the nearest tuned class, beyond the distance cap"),
            ("architecture", self._relatives(problem.kind, hardware), math.inf, "another device"),
        )
        refused = ""

        @functools.cache
        def plan() -> Prediction:
            return best(problem, sizes, hardware, union, target.backend)

        def slower(schedule: Schedule) -> float:
            """How many times as long as the plan a schedule is predicted to take."""
            mine = predict(problem, schedule, sizes, hardware, union, target.backend)
            try:
                return mine.seconds / plan().seconds
            except IllegalSchedule:
                return 1.0

        for tier, paths, cap, reason in tiers:
            for found in self._ranked(paths, wanted, cap, union):
                schedule = space.adapted(problem, found.entry.as_schedule())
                try:
                    space.check(problem, schedule, target.backend, hardware)
                    check_workspace(problem, schedule, sizes, hardware)
                except IllegalSchedule as error:
                    refused = f"{found.path} has {schedule} for {found.entry.shape}: {error}"
                    # Borrowed from another class it may well not fit; its own class is a fault.
                    say = self._say if tier == "exact" else log.debug
                    say(f"{refused}. It is not used for {problem.kind} {wanted}.")
                    continue
                if found.distance:
                    times = slower(schedule)
                    if times > (NEAR_COST if found.distance <= CAP else FAR_COST):
                        refused = (
                            f"{found.path} has {schedule} for {found.entry.shape}: predicted to "
                            f"take {times:.2f} times as long here as the cost model's plan"
                        )
                        continue
                if tier == "architecture":
                    self._say(
                        f"no {problem.kind} config for {hardware.name}; borrowing {found.path}, "
                        f"tuned on the same architecture {hardware.arch}. "
                        "Run `hsa-compiler autotune` here."
                    )
                choice = Choice(schedule, tier, found.path, found.distance, reason)
                if tier == "exact":
                    choice = replace(
                        choice,
                        measured=found.entry.time.median_ms / 1e3,
                        locality=found.entry.locality.name,
                    )
                return choice
        return self._plan(problem, target, hardware, plan, refused)

    def _relatives(self, kernel: str, hardware: Hardware) -> list[Path]:
        """Files of other devices of the same architecture."""
        paths = []
        for path in self.files():
            if path.name != f"{kernel}.json" or path.parent.name == hardware.slug:
                continue
            config = self.load(path)
            if config and config.device.arch == hardware.arch:
                paths.append(path)
        return paths

    def _ranked(
        self, paths: Sequence[Path], wanted: ShapeClass, cap: float, union: float | None
    ) -> list[_Found]:
        """Entries within `cap`, nearest first; ties by folder order, then by locality."""
        ranked = []
        for order, path in enumerate(paths):
            config = self.load(path)
            for entry in config.entries if config else ():
                distance = wanted.distance(entry.shape)
                if distance <= cap and math.isfinite(distance):
                    found = _Found(entry, path, distance)
                    ranked.append(((distance, order, _locality_rank(entry, union)), found))
        return [found for _, found in sorted(ranked, key=lambda item: item[0])]

    def _plan(
        self,
        problem: Problem,
        target: Target,
        hardware: Hardware,
        plan: Callable[[], Prediction],
        refused: str,
    ) -> Choice:
        reason = refused or f"no tuned {problem.kind} for {hardware.slug} or {hardware.arch}"
        if not refused and not any(path.parent.name == hardware.slug for path in self.files()):
            self._say(
                f"no tuned configs for {hardware.name}; kernels use the cost model's plan. "
                "Run `hsa-compiler autotune` to tune them."
            )
        try:
            schedule = plan().schedule
        except IllegalSchedule as error:
            schedule = generic(problem.kind, target.backend)
            return Choice(schedule, "generic", None, math.inf, f"{reason}; {error}")
        return Choice(schedule, "planned", None, math.inf, reason)


def _locality_rank(entry: Entry, union: float | None) -> float:
    if union is not None:
        return abs(math.log2(max(entry.locality.union, 0.25) / max(union, 0.25)))
    return float(WITHOUT_UNION.index(entry.locality.kind))


class _Default:
    """The process's store; a class so that one name stays bound to one object."""

    store: ConfigStore | None = None


def default_store() -> ConfigStore:
    """The process's store: the user's folder, then the packaged one."""
    if _Default.store is None:
        _Default.store = ConfigStore()
    return _Default.store


def set_default_store(store: ConfigStore | None) -> None:
    """Use another store from now on; None reads the default folders afresh."""
    _Default.store = store


def choose(
    problem: Problem,
    sizes: Mapping[str, int],
    target: Target,
    hardware: Hardware,
    union: float | None = None,
) -> Choice:
    """`ConfigStore.choose` of the process's store; a repeated call costs microseconds."""
    return default_store().choose(problem, sizes, target, hardware, union)
