"""Tuned configs as vLLM-style JSON and as a Python module of `triton.Config`s."""

from __future__ import annotations

import ast
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from hsa_compiler.cli.main import main
from hsa_compiler.configs import (
    ConfigStore,
    Entry,
    Winner,
    device_record,
    merge_entries,
    packaged_folder,
)
from hsa_compiler.configs.tables import (
    CONSTANTS,
    OPTIONS,
    as_triton,
    as_vllm,
    constants,
    options,
    tables,
)
from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.schedules import hardware
from hsa_compiler.schedules.defaults import generic
from hsa_compiler.schedules.kernel_knobs import KNOBS
from tests.configs.entries import entry
from tests.problems import make

H200 = hardware.named("nvidia_h200")


def packaged(slug: str = "nvidia_h200") -> list[Winner]:
    folder = packaged_folder()
    assert folder is not None
    return ConfigStore([folder]).winners(slug)


def made(kernel: str = "attend", tokens: int = 8192, **changes: Any) -> Entry:
    problem, sizes = make(kernel, tokens=tokens)
    return entry(problem, sizes, generic(kernel, "triton")).model_copy(update=changes)


def store(folder: Path, *entries: Entry) -> Path:
    merge_entries(folder, device_record(H200), entries)
    return folder


def winners(*entries: Entry) -> list[Winner]:
    path = Path("nvidia_h200", "attend.json")
    return [Winner(path, device_record(H200), found) for found in entries]


class Config:
    """What a table needs of `triton.Config`: it takes these arguments, and no others."""

    def __init__(
        self,
        kwargs: dict[str, Any],
        *,
        num_warps: int = 4,
        num_stages: int = 3,
        maxnreg: int | None = None,
    ) -> None:
        given = {"num_warps": num_warps, "num_stages": num_stages, "maxnreg": maxnreg}
        self.everything = {**kwargs, **given}


def imported(text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of a module that may import triton alone."""
    nodes = list(ast.walk(ast.parse(text)))
    assert [n.names[0].name for n in nodes if isinstance(n, ast.Import)] == ["triton"]
    assert not [n for n in nodes if isinstance(n, ast.ImportFrom)]
    triton = types.ModuleType("triton")
    triton.Config = Config  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton", triton)
    names: dict[str, Any] = {}
    exec(compile(text, "table", "exec"), names)
    return names


def test_every_knob_of_a_gpu_kernel_has_a_spelling() -> None:
    read = {name for kernel in KNOBS.values() for name in kernel.names("triton")}
    assert read == CONSTANTS.keys() | OPTIONS.keys()
    assert len(set(CONSTANTS.values())) == len(CONSTANTS)


def test_vllm_reads_a_table_and_finds_every_entry() -> None:
    entries = packaged()
    texts = as_vllm(tables(entries))
    found = 0
    for name, text in texts.items():
        assert re.fullmatch(r"\w+(,\w+=\w+)+,device_name=NVIDIA_H200\.json", name)
        # As vLLM's get_moe_configs does.
        data = json.loads(text)
        assert data.pop("triton_version") == "3.6.0"
        by_tokens = {int(key): value for key, value in data.items()}
        assert list(by_tokens) == sorted(by_tokens)
        found += len(by_tokens)
        assert all("num_warps" in knobs for knobs in by_tokens.values())
    assert found == len(entries)
    (name,) = [
        n
        for n in texts
        if n.startswith("attend,D=128,H=1,") and "K=32," in n and "selection=local" in n
    ]
    assert "K=32,tokens_per_chunk=64,dtype=bf16," in name
    assert list(json.loads(texts[name])) == ["triton_version", "8192", "32768", "131072"]
    (at_8k,) = [
        w.entry
        for w in entries
        if name.startswith(w.entry.shape.kernel + ",")
        and w.entry.shape.tokens == 8192
        and (w.entry.shape.dims["H"], w.entry.locality.kind) == (1, "local")
    ]
    assert json.loads(texts[name])["8192"] == {
        (CONSTANTS | OPTIONS)[knob]: value
        for knob, value in at_8k.schedule.items()
        if knob != "registers" or value
    }


def test_the_module_holds_the_same_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tables(packaged())
    ((name, text),) = as_triton(found).items()
    assert name == "hsa_nvidia_h200.py"
    names = imported(text, monkeypatch)
    for table in found:
        configs = names[table.first.shape.kernel.upper()][table.name]
        assert list(configs) == list(table.entries)
        for tokens, tuned in table.entries.items():
            expected = constants(tuned) | options(tuned)
            assert configs[tokens].everything.items() >= expected.items()
    assert len(as_triton(tables([*packaged(), *packaged("nvidia_h100_80gb_hbm3")]))) == 2


def test_a_register_limit_is_written_and_none_is_not() -> None:
    limited = made()
    limited = limited.model_copy(update={"schedule": {**limited.schedule, "registers": 128}})
    assert options(limited)["maxnreg"] == 128
    assert "maxnreg" not in options(made())


def test_a_family_shares_everything_but_tokens() -> None:
    base = made()
    fewer_chunks = base.shape.model_copy(update={"chunks": base.shape.chunks // 2})
    more_chunks = base.shape.model_copy(update={"tokens": 1, "chunks": 4})
    none = base.shape.model_copy(update={"chunks": 0})
    trace = base.locality.model_copy(update={"kind": "trace", "trace": "0123456789abcdef"})
    older = base.provenance.model_copy(update={"triton": "3.5.0"})
    found = tables(
        winners(
            base,
            made(tokens=32768, provenance=older),
            made(shape=fewer_chunks),
            made(shape=more_chunks),
            made(shape=none),
            made(locality=trace),
            made(shape=base.shape.model_copy(update={"dtype": "fp16"})),
            made(shape=base.shape.model_copy(update={"variant": "attend(q)"})),
        )
    )
    assert sorted(len(table.entries) for table in found) == [1] * 6 + [2]
    text = " ".join(table.name for table in found)
    for part in ("tokens_per_chunk=64", "tokens_per_chunk=128", "tokens_per_chunk=1_4"):
        assert part in text
    assert "selection=trace_01234567," in text
    (mixed,) = [table for table in found if len(table.entries) == 2]
    assert "triton_version" not in next(iter(as_vllm([mixed]).values()))


def test_nothing_in_a_config_becomes_code_or_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = made().shape.model_copy(update={"variant": 'attend"""\nraise SystemExit\n# ${x}'})
    device = device_record(H200).model_copy(update={"name": '../"""\nx = 1'})
    found = tables([Winner(Path("nvidia_h200", "attend.json"), device, made(shape=odd))])
    ((name, _),) = as_vllm(found).items()
    assert "/" not in name
    assert "\n" not in name
    (text,) = as_triton(found).values()
    assert "x" not in imported(text, monkeypatch)
    for changes in ({"dtype": "../x"}, {"dims": {"a/b": 1}}, {"dims": {"": 1}}):
        shape = made().shape.model_copy(update=changes)
        with pytest.raises(ConfigError, match=r"attend\.json: .* cannot stand in the name"):
            tables(winners(made(shape=shape)))
    with pytest.raises(ConfigError, match="'my gpu' cannot stand"):
        tables([Winner(Path("my gpu", "attend.json"), device, made())])


def test_the_command_writes_whole_files_and_replaces_none_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = store(tmp_path / "configs", made(), made("weigh")), tmp_path / "new" / "tables"
    base = ["configs", "export", "--folder", str(folder), "--out", str(out)]
    assert main([*base, "--format", "vllm", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    written = sorted(path.name for path in out.iterdir())
    assert written == sorted(f"{row['family']},device_name=NVIDIA_H200.json" for row in rows)
    assert main([*base, "--format", "triton", "--kernels", "weigh"]) == 0
    module = out / "hsa_nvidia_h200.py"
    assert "WEIGH = {" in module.read_text()
    assert "ATTEND = {" not in module.read_text()
    capsys.readouterr()

    assert main([*base, "--format", "triton"]) == 2
    assert "has 1 of these files already, hsa_nvidia_h200.py" in " ".join(
        capsys.readouterr().err.split()
    )
    assert "ATTEND = {" not in module.read_text()
    assert main([*base, "--format", "triton", "--force"]) == 0
    assert "ATTEND = {" in module.read_text()
    assert not list(out.glob(".*"))


def test_bad_input_is_one_error_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (tmp_path / "file").write_text("")
    cases = [
        (["--format", "yaml"], "--format='yaml': give one of"),
        (
            ["--format", "vllm", "--device", "nvidia_gtx"],
            "devices there: cpu_amd_epyc, ",
        ),
        (["--format", "vllm", "--device", "cpu_amd_epyc"], "hold no Triton schedules"),
        (["--format", "vllm", "--kernels", "flash"], "unknown kernels flash: choose from"),
        (["--format", "triton", "--out", " "], "--out is empty"),
        (["--format", "triton", "--out", str(tmp_path / "file")], "cannot be written"),
        (["--format", "triton", "--out", str(tmp_path / "file" / "x")], "cannot be written"),
        (["--format", "triton", "--folder", str(tmp_path / "none")], "devices there: none"),
    ]
    for more, message in cases:
        assert main(["configs", "export", "--out", str(out), *more]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    broken = tmp_path / "configs" / "nvidia_h200" / "attend.json"
    broken.parent.mkdir(parents=True)
    for text in ("", "{", '{"schema_version": 99}'):
        broken.write_text(text)
        base = ["configs", "export", "--format", "vllm", "--out", str(out)]
        assert main([*base, "--folder", str(tmp_path / "configs")]) == 2
        assert "attend.json" in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(InputError, match="hold no Triton schedules"):
        tables([])
