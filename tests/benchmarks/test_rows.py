"""Suites as data, and the words of ``--rows``."""

from __future__ import annotations

import pytest

from hsa_compiler.benchmarks.rows import RATIO, SUITES, Row, find_suite, parse_rows
from hsa_compiler.errors import InputError
from hsa_compiler.tuner.shapes import SHAPES
from tests.benchmarks.cases import tiny_row


def test_the_paper_suite_holds_the_targets() -> None:
    rows = parse_rows(find_suite("paper"), [], "cuda")
    assert [row.name for row in rows] == ["a8", "a32", "a128", "r8", "r32", "g4", "g1", "m345"]
    assert {row.name: row.selection for row in rows}["r32"] == "random"
    by_name = {row.name: row.shape for row in rows}
    assert by_name["r8"] == by_name["a8"]
    assert by_name["m345"].Dr == 1024


def test_the_ratio_suite_names_its_whole_grid_and_runs_its_axes() -> None:
    assert len(RATIO) == 6 * 2 * 4 * 9
    defaults = parse_rows(find_suite("ratio"), [], "cuda")
    assert 15 <= len(defaults) <= 20
    assert {row.shape.Hq // row.shape.H for row in defaults} == {1, 2, 4, 8, 16, 32}
    assert {row.shape.L for row in defaults} == {1024 << n for n in range(9)}
    for row in RATIO.values():
        assert row.shape.Hq % row.shape.H == 0


@pytest.mark.parametrize("suite", list(SUITES))
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_suite_has_rows_for_every_device_or_says_so(suite: str, kind: str) -> None:
    if kind == "cuda" and suite in ("cpu", "train"):
        with pytest.raises(InputError, match="--device cpu"):
            parse_rows(find_suite(suite), [], kind)
        return
    rows = parse_rows(find_suite(suite), [], kind)
    assert rows
    assert all(row.shape.dtype == "fp32" for row in rows) or kind == "cuda"


def test_rows_are_named_or_spelt_out() -> None:
    suite = find_suite("paper")
    word = "L=64,Hq=4,H=2,D=16,S=16,K=2,selection=random,dtype=bf16"
    rows = parse_rows(suite, ["a8,r8", word, "a8"], "cuda")
    assert [row.name for row in rows] == ["a8", "r8", word]
    assert (rows[2].selection, rows[2].shape.K, rows[2].shape.dtype) == ("random", 2, "bf16")
    assert parse_rows(suite, ["a8"], "cpu")[0].shape.dtype == "fp32"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("b8", "no row 'b8'"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=2,selection=far", "selection='far'"),
        ("L=64,Hq=4", "must be given too"),
        ("L=64,Lkv=32,Hq=4,H=2,D=16,S=16,K=2", "there must be as many keys"),
        ("L=64,Hq=4,H=2,D=16,S=16,K=2,normalize=stick_breaking", "measure 'softmax'"),
    ],
)
def test_bad_rows_are_refused(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rows(find_suite("paper"), [word], "cuda")


def test_rows_of_decoding_decode() -> None:
    suite = find_suite("decode")
    assert all(row.shape.decode for row in suite.rows.values())
    assert suite.rows["d1m"].shape == SHAPES["d1m"]
    for word in ("L=1,Lkv=64,Hq=4,H=2,D=16,S=16,K=2", "L=1,Lkv=64,Hq=4,H=2,D=16,S=16,K=2,decode=1"):
        assert parse_rows(suite, [word], "cuda")[0].shape.decode
        with pytest.raises(InputError, match="Zk=32: benchmarks decode on a contiguous cache"):
            parse_rows(suite, [f"{word.removesuffix(',decode=1')},decode=1,Zk=32"], "cuda")
    with pytest.raises(InputError, match="L=65, the new tokens of a decoding step"):
        parse_rows(suite, ["L=65,Hq=4,H=2,D=16,S=16,K=2"], "cuda")
    with pytest.raises(InputError, match="leave decode=1 out, or give --suite decode"):
        parse_rows(find_suite("paper"), [word], "cuda")


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(InputError, match="--suite='papers'"):
        find_suite("papers")


def test_a_cpu_row_keeps_all_but_its_dtype() -> None:
    row = Row("x", tiny_row().shape.resized(dtype="bf16"), "random", "")
    assert row.on("cuda") is row
    assert row.on("cpu") == Row("x", tiny_row().shape, "random", "")


def test_all_names_every_row_and_stands_alone() -> None:
    assert len(parse_rows(SUITES["ratio"], ["all"], "cuda")) == len(SUITES["ratio"].rows)
    with pytest.raises(InputError, match="all stands alone"):
        parse_rows(SUITES["ratio"], ["all,r1-d64-k8-l1k"], "cuda")
