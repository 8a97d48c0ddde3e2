"""CPU exports: called from a bare Python process, from C, and through DLPack in half precision."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hsa_compiler.export import loader
from hsa_compiler.runtime import visibility
from tests.export.folders import CHUNK, SHAPE, draw, expected, manifest_of, run_export

CALL = """
import sys
sys.modules.update(torch=None, tvm=None, hsa_compiler=None)  # importing them fails
import numpy as np
import hsa
kernels = hsa.load()
given = dict(np.load(sys.argv[1]))
d_out = given.pop("d_out")
found = kernels.forward(**given)
found |= kernels.backward(d_out=d_out, **given, **found)
np.savez(sys.argv[2], **found)
"""


@pytest.mark.parametrize(("batch", "tokens"), [(1, 128), (2, 115)])
def test_a_bare_process_computes_the_operator(
    cpu_folder: Path, tmp_path: Path, batch: int, tokens: int
) -> None:
    inputs = draw(batch, tokens)
    given, results = tmp_path / "given.npz", tmp_path / "results.npz"
    np.savez(given, **{name: x.numpy() for name, x in inputs.items()})
    done = subprocess.run(
        [sys.executable, "-c", CALL, str(given), str(results)],
        cwd=cpu_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = np.load(results)
    for name, want in expected(inputs).items():
        torch.testing.assert_close(
            torch.from_numpy(found[name]).double(), want, rtol=1e-4, atol=1e-4, msg=name
        )


def test_half_precision_goes_through_dlpack(tmp_path: Path) -> None:
    target = "cpu:x86-64-v3:1" if platform.machine() == "x86_64" else "cpu"
    folder = run_export(tmp_path / "half", "--target", target, shape=f"{SHAPE},dtype=bf16")
    kernels = loader.load(folder)
    assert isinstance(kernels, loader.CpuKernels)
    inputs = draw(1, 96, torch.bfloat16)
    given = {name: inputs[name] for name in ("q", "k", "v", "q_slc", "landmarks")}
    with pytest.raises(loader.ExportError, match=r"out is bf16, which NumPy lacks: give outputs="):
        kernels.forward(**given)
    out = torch.full((1, 96, 4, 32), float("nan"), dtype=torch.bfloat16)
    assert kernels.forward({"out": out}, **given)["out"] is out
    torch.testing.assert_close(out.double(), expected(inputs)["out"], rtol=2e-2, atol=2e-2)
    with pytest.raises(loader.ExportError, match="no backward kernels: export with --passes both"):
        kernels.backward(**given)


def test_calls_that_do_not_fit_say_why(cpu_folder: Path) -> None:
    kernels = loader.load(cpu_folder)
    assert isinstance(kernels, loader.CpuKernels)
    inputs = {name: x.numpy() for name, x in draw(1, 64).items()}
    retrieval = {**inputs, **dict(zip(("lo", "hi"), kernels.visible(1, 64, 64), strict=True))}
    empty = np.full((1, 64, 2, 4), -1, np.int32)
    wrong = (
        ("no kernel group 'atend'; there are: retrieve", "atend", {}),
        ("retrieve needs landmarks, fp32 [B, C, 2, 32]", "retrieve", {"landmarks": None}),
        ("q_slc: has dtype float64", "retrieve", {"q_slc": inputs["q_slc"].astype(np.float64)}),
        ("q_slc: is not contiguous", "retrieve", {"q_slc": inputs["q_slc"][..., ::2]}),
        (
            "its inputs do not say Lkv: give it too",
            "invert_index",
            {"indices": empty},
        ),
        (r"lo has shape \[1, 63\], expected \[1, 64\]", "retrieve", {"lo": retrieval["lo"][:, 1:]}),
        ("cannot be read through DLPack", "retrieve", {"hi": "text"}),
        ("give B and L of 1 or more", "retrieve", {n: retrieval[n][:, :0] for n in ("q_slc",)}),
    )
    for message, group, change in wrong:
        given = {n: x for n, x in {**retrieval, **change}.items() if x is not None}
        if "give B" in message:
            given |= {name: given[name][:, :0].copy() for name in ("q_slc", "lo", "hi")}
        with pytest.raises(loader.ExportError, match=message.replace("[B, C", r"\[B, C")):
            kernels.call(group, given)


def test_visible_chunks_are_the_operators(cpu_folder: Path) -> None:
    kernels = loader.load(cpu_folder)
    assert isinstance(kernels, loader.CpuKernels)
    lo, hi = kernels.visible(2, 70, 90, offset=20)
    wanted = visibility.intervals(
        batch=2,
        rows=70,
        chunks=90 // CHUNK,
        chunk_size=CHUNK,
        device=torch.device("cpu"),
        q_offset=20,
    )
    assert torch.equal(torch.from_numpy(lo), wanted[0])
    assert torch.equal(torch.from_numpy(hi), wanted[1])


PROGRAM = r"""
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hsa.h"

static void *read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) { perror(path); exit(2); }
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  void *data = malloc(size);
  if (fread(data, 1, size, file) != (size_t)size) exit(2);
  fclose(file);
  return data;
}

static void expect(int32_t found, int32_t wanted) {
  if (found == wanted) return;
  fprintf(stderr, "returned %d, expected %d: %s\n", found, wanted, hsa_last_error());
  exit(1);
}

int main(void) {
  const int64_t B = SIZE_B, L = SIZE_L, Lkv = SIZE_L;
  DECLARATIONS
  CALLS
  const float *wanted = read_file("wanted.bin");
  for (int64_t i = 0; i < B * L * HSA_HQ * HSA_D; ++i)
    if (!(fabsf(out[i] - wanted[i]) <= 1e-4f)) {
      fprintf(stderr, "out[%lld] = %g, expected %g\n", (long long)i, out[i], wanted[i]);
      return 1;
    }
  expect(hsa_invert_index(B, L, Lkv, NULL, order, offsets), HSA_NULL_POINTER);
  if (!strstr(hsa_last_error(), "indices is NULL")) return 3;
  expect(hsa_invert_index(B, 0, Lkv, indices, order, offsets), HSA_BAD_SIZE);
  expect(hsa_invert_index(B, L, HSA_CHUNK - 1, indices, order, offsets), HSA_BAD_SIZE);
  expect(hsa_invert_index(B, INT64_MAX, Lkv, indices, order, offsets), HSA_BAD_SIZE);
  const int32_t *odd = (const int32_t *)((const char *)indices + 1);
  expect(hsa_invert_index(B, L, Lkv, odd, order, offsets), HSA_MISALIGNED);
  puts("same");
  return 0;
}
"""
C_TYPES = {"fp32": "float", "i32": "int32_t"}


def test_a_c_program_links_and_calls_the_library(cpu_folder: Path, tmp_path: Path) -> None:
    """Written for the arguments that the manifest gives: which ones depends on the schedules."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    manifest = manifest_of(cpu_folder)
    sizes = loader.Kernels(cpu_folder, manifest).sizes(2, 100, 100)
    inputs = draw(2, 100)
    given = {name: x.numpy() for name, x in inputs.items()}
    lo, hi = visibility.intervals(
        batch=2, rows=100, chunks=100 // CHUNK, chunk_size=CHUNK, device=torch.device("cpu")
    )
    given |= {"lo": lo.numpy(), "hi": hi.numpy()}
    declared: dict[str, str] = {}
    calls = []
    for group in (g for g in manifest["groups"] if g["pass"] == "forward"):
        names = [entry["name"] for entry in group["inputs"] + group["outputs"]]
        for entry in group["inputs"] + group["outputs"]:
            kind, name = C_TYPES[entry["dtype"]], entry["name"]
            if name in declared:
                continue
            value = f'read_file("{name}.bin")'
            if name not in given:
                count = " * ".join(str(loader.evaluate(axis, sizes)) for axis in entry["shape"])
                value = f"malloc(sizeof({kind}) * {count})"
            declared[name] = f"{kind} *{name} = {value};"
        calls.append(f"expect({group['function']}(B, L, Lkv, {', '.join(names)}), HSA_OK);")
    for name in set(declared) & set(given):
        (tmp_path / f"{name}.bin").write_bytes(given[name].tobytes())
    wanted = expected(inputs)["out"].float().numpy()
    (tmp_path / "wanted.bin").write_bytes(wanted.tobytes())
    program = PROGRAM.replace("SIZE_B", "2").replace("SIZE_L", "100")
    program = program.replace("DECLARATIONS", "\n  ".join(declared.values()))
    (tmp_path / "main.c").write_text(program.replace("CALLS", "\n  ".join(calls)))
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-Wl,--allow-shlib-undefined"]
    places = [f"-I{cpu_folder}", f"-L{cpu_folder}", f"-Wl,-rpath,{cpu_folder}"]
    subprocess.run(
        [compiler, *flags, "main.c", *places, "-lhsa", "-lm", "-o", "main"],
        cwd=tmp_path,
        check=True,
    )
    done = subprocess.run(
        ["./main"], cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr


def test_the_manifest_says_what_was_compiled(cpu_folder: Path) -> None:
    manifest = loader.read_manifest(cpu_folder)
    assert manifest["passes"] == "both"
    assert manifest["shape"]["constants"]["D"] == 32
    assert manifest["target"]["threads"] >= 1
    assert set(manifest["files"]) >= {
        "libhsa.so",
        "hsa.h",
        "hsa.py",
        "README.md",
        "libtvm_runtime.so",
        "sources/attend.py",
    }
    text = json.dumps(manifest)
    assert str(cpu_folder) not in text and os.path.expanduser("~") + "/" not in text
    for group in manifest["groups"]:
        assert group["tier"] == "planned" and group["schedule"] and len(group["program"]) == 16
        assert manifest["files"][group["source"]] == group["source_sha256"]
        assert all(launch["symbol"].startswith("__tvm_ffi_hsa_") for launch in group["launches"])
