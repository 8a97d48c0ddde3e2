"""What is not a program, and what the message says about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hsa_compiler.ir import (
    Builder,
    IRError,
    Op,
    Program,
    TensorType,
    Value,
    differentiate,
    fuse_groups,
    interpret,
    parse,
    verify,
)
from hsa_compiler.ir.programs import (
    AttentionOptions,
    RetrieveOptions,
    chunk_attention_program,
    hsa_program,
    retrieve_program,
)

TEXT = retrieve_program(RetrieveOptions(8, 0.5, normalize="lse_mix", rank_scale=True)).text()
ATTENTION = chunk_attention_program(AttentionOptions(64, 0.125, joint=True, local=True)).text()


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (
            TEXT,
            "landmarks: bf16",
            "landmarks: fp16",
            r"op score: operand landmarks: expected bf16\[B,C,Hm,Dr\], given landmarks: fp16\[",
        ),
        (
            TEXT,
            "landmarks: bf16[B,C,Hm,Dr]",
            "landmarks: bf16[B,C,Hm,D]",
            r"op score: operand landmarks: expected bf16\[B,C,Hm,Dr\], given .*\[B,C,Hm,D\]",
        ),
        (
            TEXT,
            "q_slc: bf16",
            "q_slc: i32",
            r"op score: operand q: expected fp32\|bf16\|fp16\|fp64\[B,R,Hr,Dr\], given q_slc: i32",
        ),
        (
            TEXT,
            "lo: i32[B,R]",
            "lo: i32[B]",
            r"op select: operand lo: expected i32\[B,R\], given lo: i32\[B\]",
        ),
        (
            TEXT,
            "select(scores=scores, ",
            "select(",
            "op select: operand scores: expected .*given none",
        ),
        (TEXT, "lo=lo", "low=lo", "op select: operand low: expected one of scores, lo, hi, seed"),
        (TEXT, "{k=8}", "{k=8.0}", "op select: attribute k: expected int, given 8.0"),
        (TEXT, "{k=8}", "{k=0}", "op select: attribute k: expected at least 1, given 0"),
        (TEXT, " {k=8}", "", "op select: attribute k must be given"),
        (
            TEXT,
            "{k=8}",
            '{k=8, reduce="mean"}',
            "attribute reduce: expected one of max, sum, single",
        ),
        (TEXT, "{k=8}", "{k=8, width=2}", "op select: attribute width: expected one of k, reduce"),
        (
            TEXT,
            "{k=8}",
            "{k=8, force_first=5, force_last=4}",
            r"op select: expected force_first \+ force_last <= k = 8, given 9",
        ),
        (
            TEXT,
            "scores: fp32[B,R,Hr,C]",
            "scores: bf16[B,R,Hr,C]",
            r"op score: result scores: expected fp32\[B,R,Hr,C\], given scores: bf16",
        ),
        (
            TEXT,
            ", local_lse=local_lse",
            "",
            "operand local_lse: expected exactly with kind 'lse_mix', given .* without it",
        ),
        (TEXT, "lse_mix", "softmax", "op normalize: operand local_lse: expected exactly with kind"),
        (
            TEXT,
            'kind="lse_mix"',
            'kind="sigmoid"',
            "attribute kind: expected one of softmax, stick",
        ),
        (
            ATTENTION,
            ", total_lse: fp32[B,L,Hq] =",
            " =",
            "expected a value that is defined above, given total_lse",
        ),
        (
            ATTENTION,
            "total_lse: fp32[B,L,Hq] = f",
            "total_lse: fp32[B,L,Hq], more: fp32[B] = f",
            r"op fuse_joint: expected 2 results \(out, total_lse\), given 3",
        ),
        (
            TEXT,
            "  slots: fp32[B,R,Hr,K] =",
            "  hi: i32[B] = gather(scores=scores, indices=indices)\n  slots: fp32[B,R,Hr,K] =",
            r"op gather: result slots: expected fp32\[B,R,Hr,K\], given hi",
        ),
        (
            TEXT,
            "  return",
            "  hi: fp32[B,R,Hr,K] = gather(scores=scores, indices=indices)\n  return",
            "value hi is defined twice",
        ),
        (TEXT, "return indices", "return indices, indices", "an output is named twice"),
        (
            ATTENTION,
            ", local_lse=local_lse",
            "",
            "op fuse_joint: operands local_out and local_lse: expected both or neither",
        ),
        (
            ATTENTION,
            "v: bf16[B,Lkv,H,D]",
            "v: bf16[B,Lkv,Hv,D]",
            r"op attend: operand v: expected bf16\[B,Lkv,H,D\], given v: bf16\[B,Lkv,Hv,D\]",
        ),
    ],
)
def test_messages_name_op_operand_expected_and_given(
    text: str,
    old: str,
    new: str,
    message: str,
) -> None:
    assert old in text
    with pytest.raises(IRError, match=message):
        parse(text.replace(old, new, 1))


def test_values_must_be_defined_before_use_with_one_type() -> None:
    program = retrieve_program(RetrieveOptions(8, 0.5))
    with pytest.raises(IRError, match="op score: operand q: expected an input or an earlier"):
        verify(Program("late", (), program.ops, program.outputs))
    other = Value("q_slc", TensorType("fp32", ("B", "R", "Hr", "Dr")))
    inputs = tuple(other if v.name == "q_slc" else v for v in program.inputs)
    with pytest.raises(IRError, match=r"operand q: expected q_slc: fp32.*, given q_slc: bf16"):
        verify(Program("retyped", inputs, program.ops, program.outputs))
    ghost = Value("ghost", TensorType("fp32", ("B",)))
    with pytest.raises(IRError, match="output ghost: expected an input or a result"):
        verify(Program("ghostly", program.inputs, program.ops, (ghost,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Hm": 3}, "op score: expected Hm to divide Hr, given Hm = 3, Hr = 4"),
        ({"Hi": 3}, "op select: expected Hi to divide Hr, given Hi = 3, Hr = 4"),
        ({"Hw": 2}, "op normalize: expected Hx to divide Hw, given Hx = 4, Hw = 2"),
        ({"Hq": 6}, "op attend: expected Hi to divide Hq, given Hi = 4, Hq = 6"),
        ({"R": 3}, r"op attend: R: expected 2 \(ceil\(L / 64\)\), given 3"),
        ({"K": 4}, r"op select: K: expected 8 \(attribute k\), given 4"),
    ],
)
def test_numbers_are_checked_once_known(change: dict[str, int], message: str) -> None:
    program = hsa_program(RetrieveOptions(8, 0.5), AttentionOptions(64, 0.5, query_block=64))
    dims = {
        "B": 1,
        "R": 2,
        "L": 65,
        "Lkv": 128,
        "C": 2,
        "Hr": 4,
        "Hm": 2,
        "Hi": 4,
        "Hw": 4,
        "Hq": 4,
        "H": 2,
        "D": 8,
        "Dr": 8,
        "K": 8,
    }
    verify(program, dims)
    with pytest.raises(IRError, match=message):
        verify(program, dims | change)


def test_builder_checks_each_op_as_it_comes() -> None:
    b = Builder("probe")
    q = b.input("q", "bf16", "B R Hr Dr")
    with pytest.raises(IRError, match=r"operand landmarks: expected .* given none"):
        b.emit("score", q=q, scale=1.0)
    with pytest.raises(IRError, match=r"op rank: expected one of .*score"):
        b.emit("rank", q=q)
    with pytest.raises(IRError, match="value q is defined twice"):
        b.input("q", "bf16", "B")
    with pytest.raises(IRError, match="expected a name, a number"):
        b.input("bad", "bf16", ("B-1",))


def test_halves_that_do_not_fit() -> None:
    attention = AttentionOptions(64, 0.5)
    for retrieve, other, message in [
        (RetrieveOptions(8, 0.5, dtype="fp32"), attention, "expected one dtype"),
        (RetrieveOptions(8, 0.5, normalize=None), attention, "exactly with a joint softmax"),
        (RetrieveOptions(8, 0.5), AttentionOptions(64, 0.5, joint=True), "with a joint softmax"),
        (RetrieveOptions(8, 0.5, normalize="lse_mix"), attention, "a local branch exactly with"),
    ]:
        with pytest.raises(IRError, match=message):
            hsa_program(retrieve, other)


def test_ops_that_fit_no_kernel_are_named() -> None:
    program = retrieve_program(RetrieveOptions(8, 0.5))
    with pytest.raises(IRError, match="op score: fits no kernel: its result scores is an output"):
        fuse_groups(program.with_outputs(["scores"]))
    twice = parse(
        program.text()
        .replace(
            "  return",
            "  more: i32[B,R,Hi,K] = select(scores=scores, lo=lo, hi=hi) {k=8}\n  return",
        )
        .replace("return ", "return more, ")
    )
    with pytest.raises(IRError, match="op select: fits no kernel: expected one in a program"):
        fuse_groups(twice)


def test_gradients_that_do_not_exist() -> None:
    program = hsa_program(
        RetrieveOptions(8, 0.5, normalize=None), AttentionOptions(64, 0.5, joint=True)
    )
    with pytest.raises(IRError, match="no gradient reaches input q_slc from out"):
        differentiate(program, wrt=["q_slc"])
    with pytest.raises(IRError, match="outputs to differentiate among out, given indices"):
        differentiate(program, of=["indices"])
    with pytest.raises(IRError, match=r"with respect to among .*given w"):
        differentiate(program, wrt=["w"])


def test_an_op_without_a_gradient_rule_raises() -> None:
    program = chunk_attention_program(AttentionOptions(64, 0.5))
    with pytest.raises(IRError, match=r"op \w*grad\w*: has no gradient rule"):
        differentiate(differentiate(program))


def test_selection_and_weights_are_one_kernel_where_scores_rank() -> None:
    def kinds(**options: Any) -> list[str]:
        program = retrieve_program(RetrieveOptions(8, 0.5, **options))
        return [group.kind for group in fuse_groups(program)]

    assert kinds(own_indices=True) == ["retrieve"]
    assert kinds(own_indices=True, reduce="sum", force_last=2, bias=True) == ["retrieve"]
    assert kinds() == ["select", "weigh"]
    for changed in ({"noise": True}, {"row_lse": True}):
        assert kinds(own_indices=True, **changed) == ["select", "weigh"]
    assert kinds(own_indices=True, normalize=None) == ["select"]
    (group,) = fuse_groups(retrieve_program(RetrieveOptions(8, 0.5, own_indices=True)))
    assert [value.name for value in group.program.outputs] == ["indices", "slots", "weights"]


def test_interpreter_reports_what_is_missing() -> None:
    program = retrieve_program(RetrieveOptions(2, 0.5, dtype="fp32"))
    values = {
        "q_slc": torch.zeros(1, 3, 2, 4),
        "landmarks": torch.zeros(1, 5, 2, 4),
        "lo": torch.zeros(1, 3, dtype=torch.int32),
        "hi": torch.zeros(1, 3),
    }
    dims = {"Hi": 2, "Hw": 2}
    with pytest.raises(IRError, match="no value given for dims Hi, Hw"):
        interpret(program, values)
    with pytest.raises(IRError, match=r"input hi: expected hi: i32\[B,R\]|input hi: expected i32"):
        interpret(program, values, dims)
    with pytest.raises(IRError, match="input hi: expected a tensor, given none"):
        interpret(program, {k: v for k, v in values.items() if k != "hi"}, dims)
    with pytest.raises(IRError, match=r"input lo: expected i32\[B,R\], given shape \[3\]"):
        interpret(program, {**values, "lo": values["lo"][0]}, dims)
    with pytest.raises(IRError, match="landmarks: expected Dr = 4, given 3"):
        interpret(program, {**values, "landmarks": torch.zeros(1, 5, 2, 3)}, dims)


def test_ops_answer_for_their_operands_results_and_attributes() -> None:
    program = retrieve_program(RetrieveOptions(8, 0.5, normalize="lse_mix"))
    select, normalize = program.find("select"), program.find("normalize")
    assert isinstance(select, Op)
    assert isinstance(normalize, Op)
    assert select.operand("seed") is None
    assert select["scores"].name == "scores"
    assert select.attr("k") == 8
    assert select.attr("reduce") == "max"
    assert normalize.result("local_weight") == program.outputs[-1]
    assert program.find("attend") is None
    for ask in (
        lambda: select["seed"],
        lambda: select.operand("noise"),
        lambda: select.attr("chunk"),
        lambda: select.result("scores"),
    ):
        with pytest.raises(IRError, match="op select: "):
            ask()
