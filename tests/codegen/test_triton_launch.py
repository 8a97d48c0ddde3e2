"""Launches of generated Triton kernels: the first through Triton, later ones directly."""

from __future__ import annotations

from typing import Any

import torch

from hsa_compiler.codegen.triton_build import TritonLaunch
from hsa_compiler.tile.builder import TileBuilder
from hsa_compiler.tile.ir import Kernel, Size


class Compiled:
    """What Triton gives for a launch: it takes the grid, then the arguments."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *args: self.log.append(("compiled", grid, args))


class Jit:
    """A jitted function that records its launches."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*args: Any, **options: int) -> Compiled:
            self.log.append(("jit", grid, options))
            return Compiled(self.log)

        return launch


def kernel() -> Kernel:
    b = TileBuilder("copy")
    x, y = b.pointer("x", "fp32"), b.pointer("y", "fp32")
    place = b.program_id(0, "i") + b.scalar("n", Size.of("L"))
    b.store(y, place, b.load(x, place))
    return b.finish(("L",))


def test_later_launches_go_to_the_compiled_kernel() -> None:
    log: list[Any] = []
    launch = TritonLaunch(Jit(log), kernel(), {"num_warps": 2})
    tensors = {"x": torch.zeros(64), "y": torch.zeros(64)}
    for size in (3, 4):
        launch(tensors, {"n": size}, (size,))
    assert [entry[0] for entry in log] == ["jit", "compiled"]
    assert log[0][2] == {"num_warps": 2}
    assert log[1][1] == (4, 1, 1)
    assert log[1][2][-1] == 4


def test_other_alignments_and_long_sizes_are_compiled_for_themselves() -> None:
    log: list[Any] = []
    launch = TritonLaunch(Jit(log), kernel(), {})
    aligned = {"x": torch.zeros(64), "y": torch.zeros(64)}
    shifted = {**aligned, "x": torch.zeros(65)[1:]}
    launch(aligned, {"n": 1}, (1,))
    launch(shifted, {"n": 1}, (1,))
    launch(aligned, {"n": 2**31}, (1,))
    launch(aligned, {"n": 1}, (1,))
    assert [entry[0] for entry in log] == ["jit", "jit", "jit", "compiled"]
