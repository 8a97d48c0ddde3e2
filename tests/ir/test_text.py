"""The text form: canonical, stable, and read back to an equal program."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsa_compiler.ir import Builder, IRError, Program, differentiate, fuse_groups, methods, parse
from hsa_compiler.ir.programs import (
    AttentionOptions,
    RetrieveOptions,
    chunk_attention_program,
    hsa_program,
    retrieve_program,
)
from hsa_compiler.ir.spec import NORMALIZATIONS

SMALL = """\
program retrieve(
    q_slc: bf16[B,R,Hr,Dr],
    landmarks: bf16[B,C,Hm,Dr],
    lo: i32[B,R],
    hi: i32[B,R],
    seed: i32[1]
) {
  scores: fp32[B,R,Hr,C] = score(q=q_slc, landmarks=landmarks) {scale=0.125}
  indices: i32[B,R,Hi,K] = select(scores=scores, lo=lo, hi=hi, seed=seed) {k=8, reduce="sum"}
  slots: fp32[B,R,Hr,K] = gather(scores=scores, indices=indices)
  weights: fp32[B,R,Hw,K] = normalize(logits=slots) {kind="stick_breaking"}
  return indices, slots, weights
}
"""


def assert_round_trip(program: Program) -> None:
    again = parse(program.text())
    assert again == program
    assert again.text() == program.text()
    assert again.hash == program.hash
    assert hash(again) == hash(program)


def test_text_is_canonical() -> None:
    program = retrieve_program(
        RetrieveOptions(8, 0.125, normalize="stick_breaking", noise=True, reduce="sum")
    )
    assert program.text() == SMALL
    assert parse(SMALL.replace("\n", "  ").replace(",", " , ")) == program
    spelled_out = SMALL.replace('reduce="sum"', 'force_last=0, reduce="sum", force_first=0')
    assert parse(spelled_out).hash == program.hash


def test_hash_does_not_depend_on_the_process() -> None:
    code = (
        "from hsa_compiler.ir import differentiate, methods;"
        "print(differentiate(methods.hils(8, 64, 0.25, 0.125), of=['out']).hash)"
    )
    root = Path(__file__).resolve().parents[2]
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert hashes == {differentiate(methods.hils(8, 64, 0.25, 0.125), of=["out"]).hash + "\n"}


@st.composite
def options(draw: st.DrawFn) -> tuple[RetrieveOptions, AttentionOptions]:
    """Two halves that fit each other."""
    kind = draw(st.sampled_from([None, *NORMALIZATIONS]))
    dtype = draw(st.sampled_from(["fp32", "bf16", "fp16"]))
    flag, scale, one = st.booleans(), st.floats(1e-6, 1e6), st.integers(0, 1)
    retrieve = RetrieveOptions(
        draw(st.integers(2, 128)),
        draw(scale),
        normalize=kind,
        bias=draw(flag),
        noise=draw(flag),
        row_lse=draw(flag),
        rank_scale=kind in ("softmax", "lse_mix") and draw(flag),
        reduce=draw(st.sampled_from(["max", "sum", "single"])),
        force_first=draw(one),
        force_last=draw(one),
        dtype=dtype,
    )
    attention = AttentionOptions(
        draw(st.sampled_from([16, 64, 128])),
        draw(scale),
        joint=kind is None,
        local=draw(flag) if kind is None else kind == "lse_mix",
        packed=draw(flag),
        query_block=draw(st.sampled_from([1, 64])),
        plus_one=draw(flag),
        hide_last=draw(flag),
        dtype=dtype,
    )
    return retrieve, attention


@given(options())
def test_every_program_round_trips(
    halves: tuple[RetrieveOptions, AttentionOptions],
) -> None:
    retrieve, attention = halves
    found = [
        retrieve_program(retrieve),
        chunk_attention_program(attention),
        hsa_program(retrieve, attention),
    ]
    found += [differentiate(program) for program in found[1 if attention.joint else 0 :]]
    for program in found:
        assert_round_trip(program)
        for group in fuse_groups(program):
            assert_round_trip(group.program)


def test_methods_share_kernels() -> None:
    """A kernel's hash does not tell which method it came from."""

    def kernels(program: Program) -> dict[str, str]:
        return {group.kind: group.program.hash for group in fuse_groups(program)}

    moba = kernels(methods.moba(8, 64, 0.125).with_outputs(["out", "total_lse"]))
    alone = kernels(chunk_attention_program(AttentionOptions(64, 0.125, joint=True, local=True)))
    assert moba["attend"] == alone["attend"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lo=lo", "lo=low", "line 9: expected a value that is defined above, given low"),
        ("k=8", "k=8, k=9", "line 9: expected each name once, given k"),
        (
            "k=8",
            "k=eight",
            "line 9: expected a number, true, false or a quoted string, given eight",
        ),
        ("return indices", "return ?", "line 12: expected a token, given '[?]'"),
        ("select(", "select[", r"line 9: expected '\(', given \["),
        ("}\n", "", "expected more, given the end of the text"),
        ("}\n", "} x", "line 13: expected the end of the text, given x"),
        ("fp32[B,R,Hw,K]", "fp33[B,R,Hw,K]", "expected a dtype of .*, given 'fp33'"),
        ("i32[1]", "i32[C-1]", "expected a token, given '-'|expected a name, a number"),
        ("select(", "choose(", "op choose: expected one of .*score, select"),
    ],
)
def test_mistakes_are_named_with_their_line(old: str, new: str, message: str) -> None:
    with pytest.raises(IRError, match=message):
        parse(SMALL.replace(old, new, 1) if old != "}\n" else SMALL.removesuffix("}\n") + new)


def test_dims_may_be_sums_of_products() -> None:
    b = Builder("sizes")
    indices = b.input("indices", "i32", ("B", "R", 2, 4))
    op = b.op("invert_index", indices=indices, dims={"C": "C"})
    assert [str(value.type) for value in op.results] == ["i32[B,2,4*R]", "i32[B,2,C+1]"]
    assert_round_trip(b.finish(*op.results))


def test_options_are_values() -> None:
    options = RetrieveOptions(8, 0.5)
    assert hash(options) == hash(dataclasses.replace(options))
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.top_k = 9  # type: ignore[misc]
