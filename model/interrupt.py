"""Ctrl-C that waits for the step in hand."""

from __future__ import annotations

import signal
import threading
from typing import Any


class InterruptBetweenSteps:
    """Turns the first Ctrl-C inside it into `asked`; a step is never left half done by it."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> InterruptBetweenSteps:
        self._previous: Any = None
        if threading.current_thread() is threading.main_thread():  # others get no signals
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
