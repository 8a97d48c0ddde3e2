"""Places in shared memory, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable

from hsa_compiler.codegen.cuda.shared import SharedMemory

TILE = (64, 128)


def printed(body: Callable[[SharedMemory], None]) -> tuple[dict[str, int], int, list[int]]:
    """Places, bytes, and after how many buffers' uses the threads waited, in the final printing."""
    first = SharedMemory(lambda: None, None)
    body(first)
    places, size = first.arrange()
    waits: list[int] = []
    final = SharedMemory(lambda: waits.append(len(final.buffers)), places)
    body(final)
    return places, size, waits


def test_buffers_that_are_never_in_use_together_share_a_place() -> None:
    def body(shared: SharedMemory) -> None:
        for name in "ab":
            buffer = shared.buffer(name, TILE, "bfloat16")
            shared.write(buffer)
            shared.read(buffer)

    places, size, waits = printed(body)
    assert places == {"a": 0, "b": 0}
    # Rows are 16 bytes further apart than they are long.
    assert size == 64 * (256 + 16)
    # Before a is read, before b takes its place, before b is read.
    assert waits == [1, 2, 2]


def test_swizzled_buffers_are_not_padded_and_begin_where_their_pattern_does() -> None:
    def body(shared: SharedMemory) -> None:
        short = shared.buffer("short", (16,), "float32")
        shared.write(short)
        panels = shared.buffer("panels", TILE, "bfloat16", swizzled=True)
        stages = shared.stages("stages", TILE, "bfloat16", 3, swizzled=True)
        for buffer in (panels, stages, short):
            shared.read(buffer)

    places, size, _ = printed(body)
    assert places["panels"] % 1024 == places["stages"] % 1024 == 0
    assert size == 4 * 64 * 128 * 2 + 128


def test_a_buffer_of_before_a_loop_is_in_use_until_its_end() -> None:
    def body(shared: SharedMemory) -> None:
        outside = shared.buffer("outside", TILE, "bfloat16")
        shared.write(outside)
        since = shared.begin_loop()
        shared.read(outside)
        inside = shared.buffer("inside", TILE, "bfloat16")
        shared.write(inside)
        shared.read(inside)
        shared.end_loop(since)

    places, _, waits = printed(body)
    assert places["inside"] != places["outside"]
    # The first use in a round waits for the round before.
    assert len(waits) == 2


def test_readers_do_not_wait_for_readers() -> None:
    def body(shared: SharedMemory) -> None:
        buffer = shared.buffer("a", TILE, "float32")
        shared.write(buffer)
        for _ in range(3):
            shared.read(buffer)

    assert printed(body)[2] == [1]


def test_stages_wait_by_themselves() -> None:
    def body(shared: SharedMemory) -> None:
        buffer = shared.stages("a", TILE, "bfloat16", 3)
        assert buffer.rows == 192
        shared.write(buffer)
        shared.read(buffer)

    assert printed(body)[2] == []
