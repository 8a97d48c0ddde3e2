"""The worker process: evaluates candidates that may crash, hang or corrupt its CUDA context.

Started by `worker.Worker` as ``python -m hsa_compiler.tuner.worker_main FD BENCH PARENT``: FD is an
inherited pipe, BENCH names the `Bench` to make (``module:name``), PARENT is the process to die
with. Requests and replies are listed in `worker`.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

from hsa_compiler.errors import HSAError
from hsa_compiler.schedules.schedule import IllegalSchedule
from hsa_compiler.tuner.bench import Bench, failure_kind


def die_with(parent: int) -> None:
    """End this process when `parent` ends, even inside a kernel that never returns."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def serve(connection: Connection, bench: Bench) -> None:
    """Answer requests until told to stop or the parent goes away."""
    while True:
        try:
            request, arguments = connection.recv()
        except EOFError:
            return
        if request == "stop":
            return
        stage = ["setup" if request == "setup" else "compile"]

        def enter(name: str, stage: list[str] = stage) -> None:
            stage[0] = name
            connection.send(("stage", name))

        try:
            extra = (enter,) if request == "evaluate" else ()
            reply = getattr(bench, request)(*arguments, *extra)
        except Exception as error:  # any failure of a candidate is an answer, not our end
            kind, fatal = failure_kind(error, stage[0])
            text = str(error)
            if not isinstance(error, HSAError | IllegalSchedule):
                # The cause comes first: displays cut the text off.
                lines = traceback.format_exception(error)
                text = "".join([f"{type(error).__name__}: {error}\n", *lines])
            connection.send(("failed", (kind, text, fatal)))
            if fatal:
                return
        else:
            connection.send(("done", reply))


def main(arguments: list[str]) -> None:
    """Entry of the worker process."""
    faulthandler.enable()
    die_with(int(arguments[2]))
    module, _, name = arguments[1].partition(":")
    connection = Connection(int(arguments[0]))
    connection.send(("done", os.getpid()))
    serve(connection, getattr(importlib.import_module(module), name)())


if __name__ == "__main__":
    main(sys.argv[1:])
