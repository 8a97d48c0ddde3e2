"""The studies of a storage, and which of them a word on the command line means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage

from hsa_compiler.errors import InputError
from hsa_compiler.tuner.storage import StudyName

#: Studies on one page: each has about a dozen plots.
MOST = 24


@dataclass(frozen=True)
class Listed:
    """One line of the list; `best_ms` None where no candidate has a time."""

    study: str
    trials: int
    best_ms: float | None
    started: str | None


def list_studies(storage: BaseStorage) -> list[Listed]:
    """The tuner's studies in a storage, oldest first; those of others are left out."""
    return [
        Listed(
            study=found.study_name,
            trials=found.n_trials,
            best_ms=math.exp(found.best_trial.value)
            if found.best_trial is not None and found.best_trial.value is not None
            else None,
            started=found.datetime_start.isoformat(" ", "seconds")
            if found.datetime_start is not None
            else None,
        )
        for found in optuna.get_all_study_summaries(storage)
        if StudyName.parse(found.study_name) is not None
    ]


def find_studies(storage: BaseStorage, words: Sequence[str]) -> list[StudyName]:
    """The studies that `words` name: whole names, or parts of names.

    A part means every study that has it in its name, of several runs of one problem the newest;
    a part with ``#`` means all runs that have it.

    Raises InputError for a word that names none, or for more studies than a page holds.
    """
    names = {
        name: parsed
        for name in optuna.get_all_study_names(storage)
        if (parsed := StudyName.parse(name)) is not None
    }
    found: dict[str, StudyName] = {}
    for word in words:
        matches = _matches(word, names)
        if not matches:
            raise InputError(
                f"no study has {word!r} in its name: `hsa-compiler report` without a name lists "
                f"the {len(names)} there are"
            )
        found.update(matches)
    if len(found) > MOST:
        raise InputError(
            f"{', '.join(map(repr, words))}: {len(found)} studies, and a page holds {MOST} at "
            f"most: give a longer part of the name, as in {next(iter(found))}"
        )
    return list(found.values())


def _matches(word: str, names: dict[str, StudyName]) -> dict[str, StudyName]:
    if word in names:
        return {word: names[word]}
    matches = {name: parsed for name, parsed in names.items() if word and word in name}
    if "#" in word:
        return matches
    newest: dict[str, int] = {}
    for parsed in matches.values():
        newest[parsed.base] = max(parsed.run, newest.get(parsed.base, 0))
    return {name: parsed for name, parsed in matches.items() if parsed.run == newest[parsed.base]}
