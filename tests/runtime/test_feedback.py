"""Schedules chosen by measured selections: what is measured, when it counts, that it is said."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hsa_compiler import Selection, chunk_attention, explain, selection_feedback
from hsa_compiler.configs import Choice
from hsa_compiler.errors import InputError
from hsa_compiler.runtime import calls, dispatch, feedback, record
from hsa_compiler.runtime.feedback import EVERY, FIRST, GROUPS, observe
from hsa_compiler.runtime.prepare import AttentionArgs, attention_args
from hsa_compiler.schedules.locality import causal_bounds, make_selection, measured_union

S, K, L, H, D = 16, 4, 512, 2, 16


@pytest.fixture(autouse=True)
def on() -> Iterator[None]:
    """Feedback is on, and nothing has been measured."""
    selection_feedback(False)
    selection_feedback(True)
    yield
    selection_feedback(False)


def chosen(kind: str, rows: int = L, seed: int = 0, batch: int = 1) -> Tensor:
    """A selection of whole rows: every one sees more than K chunks."""
    lo, hi = causal_bounds(batch, rows, L // S, S, q_offset=L - rows)
    return make_selection(kind, lo, hi, heads=H, chunks=L // S, top_k=K, seed=seed)


def arguments(indices: Tensor, **changes: Any) -> AttentionArgs:
    """A call that attends to a selection."""
    batch, rows, heads, slots = indices.shape
    q, k = torch.zeros(batch, rows, H, D), torch.zeros(batch, L, H, D)
    given: dict[str, Any] = {
        "local_out": None,
        "local_weight": None,
        "local_lse": None,
        "chunk_size": S,
        "scale": None,
        "query_block": 1,
        "cu_seqlens_kv": None,
        "chunks": L // S,
        "inverse": None,
        "plus_one": False,
        "hide_last": False,
        "deterministic": False,
        "backend": "auto",
    }
    weights = torch.ones(batch, rows, heads, slots)
    return attention_args(q, k, k, indices, weights, **(given | changes))


def test_the_union_of_the_call_is_what_it_gets() -> None:
    local, random = chosen("local"), chosen("random")
    found = observe(arguments(local))
    assert found == pytest.approx(measured_union(local), rel=0.1)
    other = observe(arguments(chosen("random", rows=L // 4)))
    assert other is not None
    assert found is not None
    assert other > 1.5 * found, "another class has an average of its own"
    selection_feedback(True)
    assert observe(arguments(random)) == found, "switching on once more forgets nothing"
    selection_feedback(False)
    assert observe(arguments(random)) is None


def test_a_choice_stands_until_the_average_has_moved_by_half_an_octave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feedback, "FIRST", 1000)
    local, random = arguments(chosen("local")), arguments(chosen("random"))
    low, high = measured_union(local.indices), measured_union(random.indices)
    found = [observe(local), *(observe(random) for _ in range(20))]
    assert found[0] == found[1], "one other call changes nothing"
    steps = list(dict.fromkeys(found))
    assert 2 <= len(steps) <= 4
    for before, after in itertools.pairwise(steps):
        assert before is not None
        assert after is not None
        assert after > 2**0.5 * before
    assert steps[0] == pytest.approx(low, rel=0.1)
    assert steps[-1] == pytest.approx(high, rel=0.5)


def test_few_calls_measure_and_only_a_part_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    count = feedback.union_counts

    def counted(indices: Tensor, group: int) -> Tensor:
        sizes.append(indices.numel())
        return count(indices, group)

    monkeypatch.setattr(feedback, "union_counts", counted)
    args = arguments(chosen("local", batch=8))
    for _ in range(2 * EVERY + 1):
        observe(args)
    assert len(sizes) == FIRST + 2
    groups = [size // (16 * K) for size in sizes]
    assert all(GROUPS <= n <= 2 * GROUPS for n in groups)
    assert args.indices.numel() // (16 * K) > 2 * GROUPS


def test_rows_of_several_tokens_and_short_calls() -> None:
    few = chosen("local", rows=5)
    assert observe(arguments(few)) == pytest.approx(measured_union(few), rel=0.01)
    lo, hi = causal_bounds(1, L // 8, L // S, S, query_block=8)
    blocks = make_selection("random", lo, hi, heads=H, chunks=L // S, top_k=K)
    args = arguments(blocks, query_block=8)._replace(q=torch.zeros(1, L, H, D))
    assert observe(args) == pytest.approx(measured_union(blocks, 2), rel=0.15)
    assert observe(arguments(torch.full((1, 16, H, K), -1))) is None, "nobody chose a chunk"


def test_calls_that_must_not_depend_on_what_was_measured() -> None:
    indices = chosen("local")
    assert observe(arguments(indices)) is not None
    assert observe(arguments(indices, deterministic=True)) is None
    assert observe(arguments(indices, backend="reference")) is None
    torch.use_deterministic_algorithms(True)
    assert observe(arguments(indices)) is None
    torch.use_deterministic_algorithms(False)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert observe(arguments(mode.from_tensor(indices))) is None


def test_nothing_is_measured_while_torch_compile_traces() -> None:
    args = arguments(chosen("local"))

    def call(q: Tensor) -> Tensor:
        union = observe(args)
        return q * (2 if union is None else union)

    torch.compiler.reset()
    found = torch.compile(call, fullgraph=True, backend="eager")(torch.ones(2))
    torch.compiler.reset()
    assert found.tolist() == [2, 2]


def test_a_switch_is_true_or_false() -> None:
    with pytest.raises(InputError, match="enabled=1 is a int: give True or False"):
        selection_feedback(1)  # type: ignore[arg-type]


def call_inputs() -> tuple[Tensor, Tensor, Tensor, Selection]:
    """Queries that want a gradient, keys, values and a local selection."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, L, H, D, generator=generator) for _ in range(3))
    indices = chosen("local")
    weights = torch.rand(indices.shape, generator=generator)
    return q.requires_grad_(), k, v, Selection(indices, weights)


def test_a_call_and_its_gradients_are_chosen_for_the_same_union(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float | None] = []
    run = calls.run_indexed

    def interpreted(executable: Any, values: Any, *more: Any) -> Any:
        asked.append(more[-1])
        dims, device, _, deterministic, union = more
        return run(executable, values, dims, device, "reference", deterministic, union)

    monkeypatch.setattr(calls, "run_indexed", interpreted)
    out = chunk_attention(*call_inputs(), chunk_size=S)
    for _ in range(FIRST - 1):
        later = observe(arguments(chosen("random")))
    out.sum().backward()
    assert len(asked) == 2
    assert asked[0] == asked[1] != later


def test_a_call_runs_and_is_recorded_for_its_union(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []
    choose = dispatch.choose

    def noted(*given: Any) -> Choice:
        asked.append(given[-1])
        return choose(*given)

    monkeypatch.setattr(dispatch, "choose", noted)
    record.forget()
    with torch.no_grad():
        chunk_attention(*call_inputs(), chunk_size=S)
    (row,) = (row for row in record.used() if row.kernel == "attend")
    assert row.union is not None
    assert set(asked) == {row.union}
    assert row.to_json()["union"] == row.union
    assert f"measured union {row.union:g} K" in str(row)


def test_explain_says_what_a_call_would_be_chosen_for() -> None:
    sizes = {"q": (1, L, H, D), "k": (1, L, H, D), "v": (1, L, H, D)}
    sizes |= {"q_slc": (1, L, H, D), "landmarks": (1, L // S, H, D)}
    tensors = {name: torch.zeros(size) for name, size in sizes.items()}

    def unions(**options: Any) -> dict[str, float | None]:
        rows = explain(**tensors, chunk_size=S, top_k=K, **options)
        return {row.kernel: row.union for row in rows}

    assert set(unions().values()) == {None}
    union = observe(arguments(chosen("local")))
    found = unions()
    assert {u for kind, u in found.items() if kind.startswith("attend")} == {union}
    assert {u for kind, u in found.items() if not kind.startswith("attend")} == {None}
    assert set(unions(deterministic=True).values()) == {None}
