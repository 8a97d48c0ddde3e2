"""show: every stage of every program, and clear words for what does not exist."""

from __future__ import annotations

import json

import pytest

from hsa_compiler.cli.examples import INFERENCE, PROGRAMS, Shape, example
from hsa_compiler.cli.main import main
from hsa_compiler.errors import InputError
from hsa_compiler.ir import parse

SMALL = "L=256,Hq=4,H=2,D=32,S=16,K=4,dtype=fp32"
STEP = SMALL.replace("L=256", "L=2,Lkv=256")


def small(name: str) -> str:
    return STEP if name in INFERENCE else SMALL


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    assert main(["show", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        *((name, "program") for name in PROGRAMS),
        *((name, "backward") for name in PROGRAMS if name not in INFERENCE),
    ],
)
def test_programs_print_and_parse_back(
    name: str, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = shown(capsys, name, "--stage", stage, "--shape", small(name))
    assert parse(row["text"]).hash == row["hash"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_kernel_lowers_to_tiles_and_triton(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ("--shape", small(name))
    rows = shown(capsys, name, "--stage", "tile", *shape, "--target", "triton:sm_90")
    assert rows
    for row in rows:
        assert f"kernel {row['kernel']}(" in row["text"] or "kernel " in row["text"]
        assert " grid (" in row["text"]
    (row,) = shown(capsys, name, "--stage", "triton", *shape, "--kernel", rows[-1]["kernel"])
    assert "@triton.jit" in row["text"]


def test_backward_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    rows = shown(capsys, "--stage", "tile", "--backward", "--shape", SMALL)
    assert [row["kernel"] for row in rows] == [
        "attend_grad_q",
        "attend_grad_kv",
        "weigh_grad",
        "landmark_grad",
    ]


def test_backward_kernels_are_those_that_a_call_would_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shape = "L=32768,Hq=16,H=16,D=64,K=16"
    common = ("--stage", "tile", "--shape", shape, "--target", "triton:sm_90")
    first, *_ = shown(capsys, *common, "--backward")
    assert first["kernel"] == "attend_grad"
    assert "gradients of attention as one kernel: predicted" in str(first["reason"])
    # The others can be asked for.
    (row,) = shown(capsys, *common, "--kernel", "attend_grad_kv")
    assert "predicted" not in str(row["reason"])
    (row,) = shown(capsys, "--stage", "triton", "--shape", SMALL, "--kernel", "attend_grad")
    assert "def attend_grad(" in str(row["text"])


def test_schedules_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    common = ("--stage", "triton", "--kernel", "attend", "--target", "triton:sm_80")
    for word, reason in (("generic", "generic"), ("planned", "planned"), ("warps=8", "given")):
        (row,) = shown(capsys, *common, "--schedule", word)
        assert row["reason"] == reason
    assert row["schedule"]["warps"] == 8  # type: ignore[index]
    assert row["target"] == "triton:sm_80"


def test_text_is_a_python_file_with_a_comment_on_top(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--stage", "triton", "--kernel", "weigh", "--target", "triton:sm_90"]
    assert main(["show", *arguments]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# weigh for triton:sm_90: ")
    compile(text, "weigh.py", "exec")


def test_retrieval_is_shown_as_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    def kernels(*arguments: str) -> list[str]:
        common = ("--stage", "tile", "--target", "triton:sm_90")
        return [str(row["kernel"]) for row in shown(capsys, *arguments, *common)]

    assert kernels("hsa", "--shape", "Hq=8,H=2") == ["retrieve", "invert_index", "attend"]
    # HiLS shares indices in a group, MoBA weighs nothing.
    assert kernels("hils", "--shape", "Hq=8,H=2") == ["select", "weigh", "attend"]
    assert kernels("moba", "--shape", "Hq=8,H=2") == ["select", "attend"]
    assert kernels("decode", "--shape", "Hq=8,H=2") == ["retrieve", "attend"]


def test_a_decoding_step_is_one_token_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = example("decode", Shape.parse("Hq=8,H=2"))
    assert (found.dims["L"], found.dims["R"], found.dims["C"]) == (1, 1, 1024)
    (row,) = shown(capsys, "decode")
    assert "interval(kv_len=kv_len)" in row["text"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flash"], "no program 'flash'; there are: hsa"),
        (["--stage", "asm"], "no stage 'asm'"),
        (["--kernel", "atend"], "--kernel says nothing at --stage program: give --stage tile"),
        (["--schedule", "warps=8"], "--schedule says nothing at --stage program"),
        (["--stage", "backward", "--backward"], "--backward says nothing at --stage backward"),
        (["--target", "tvm"], "--target says nothing at --stage program"),
        (["--shape", "Hq=6,H=4"], "H=4 must divide Hq=6 in hsa"),
        (["--shape", "S=48"], "S=48: give one of 16, 32, 64, 128"),
        (["--shape", "D=63"], "the head dim D of q, k and v is 63: give one of 16"),
        (["--shape", "Dr=7"], "the retrieval dim Dr of q_slc and landmarks is 7"),
        (["--shape", "Q=3"], "give NAME=VALUE with B, L, Lkv"),
        (["--shape", "L=x"], "L must be a positive whole number"),
        (["--shape", "L=²"], "L must be a positive whole number"),
        (["--shape", "L=64,L=128"], "L is given twice"),
        (["--stage", "tile", "--target", "tvm:znver4:²"], "'²' is not a number of threads"),
        (["--stage", "tile", "--target", "tvm:znver4:0"], "'0' is not a number of threads"),
        (["decode", "--shape", "L=65"], "L=65, the new tokens of a decoding step, must be 1 to 64"),
        (["decode", "--stage", "backward"], "decode is for inference and has no backward"),
        (["decode", "--stage", "tile", "--backward"], "decode is for inference"),
        (["decode", "--stage", "tile", "--kernel", "attend_grad_q"], "has no attend_grad_q"),
        (["decode", "--shape", "normalize=joint"], "expected external weights"),
        (["--shape", "dtype=fp8"], "one of bf16, fp16, fp32"),
        (["--shape", "normalize=none"], "stick_breaking"),
        (
            ["--stage", "tile", "--target", "metal"],
            "give triton:sm_90, cuda:sm_90, tvm or tvm:CPU:THREADS",
        ),
        (["--stage", "triton", "--target", "tvm:znver4"], "not for --target tvm:znver4"),
        (["--stage", "tile", "--target", "triton:sm_50"], "no hardware row for 'sm_50'"),
        (["--stage", "tile", "--target", "triton:hopper"], "no architecture such as sm_90"),
        (["--stage", "tile", "--schedule", "warps=8"], "add --kernel NAME"),
        (["--stage", "tile", "--kernel", "flash"], "no kernel 'flash'"),
        (["--stage", "tile", "--schedule", "best"], "give auto, generic, planned or knobs"),
        (
            ["--stage", "tile", "--kernel", "weigh", "--schedule", "warps=3"],
            "warps=3; allowed: 1, 2, 4, 8",
        ),
        (
            ["--stage", "tile", "--kernel", "weigh", "--schedule", "warps=²"],
            "warps='²'; allowed: 1, 2, 4, 8",
        ),
        (
            ["--stage", "tile", "--kernel", "weigh", "--schedule", "warps=4,warps=8"],
            "warps is given twice",
        ),
        (
            ["chunk_attention", "--stage", "tile", "--kernel", "select"],
            "chunk_attention has no select; it has: attend, attend_grad_q",
        ),
        (
            ["--stage", "tile", "--kernel", "attend", "--schedule", "order=chunk"],
            "attend with order=chunk combine='none'",
        ),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err


def test_shapes_fill_in_a_methods_heads() -> None:
    dims = example("moba", Shape.parse("Hq=8 H=2 L=100 S=16")).dims
    assert (dims["Hr"], dims["Hm"], dims["Hi"], dims["Hw"]) == (8, 2, 8, 8)
    assert (dims["C"], dims["R"], dims["Lkv"]) == (6, 100, 100)
    assert example("gca", Shape.parse("L=100,S=16")).dims["R"] == 7
    with pytest.raises(InputError, match="no program"):
        example("flash", Shape())
