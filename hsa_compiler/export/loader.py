"""Loads and calls the exported kernels in this file's folder.

    import hsa                                  # this file; its folder on sys.path

    kernels = hsa.load()
    found = kernels.forward(q=q, k=k, v=v, q_slc=q_slc, landmarks=landmarks)
    out = found["out"]                          # [B, L, Hq, D], a NumPy array

Needs NumPy and, for kernels that run on a CPU, TVM's runtime: `pip install apache-tvm-ffi` with
libtvm_runtime.so beside this file, or `pip install apache-tvm`. It imports neither torch nor the
compiler. Inputs are NumPy arrays or whatever else speaks DLPack: contiguous, on the CPU.

`load` checks the manifest and the hash of every file before anything runs. Kernels for GPUs are not
launched from here: `launches` says with which grids and arguments to launch them.
"""

from __future__ import annotations

import ast
import ctypes
import hashlib
import importlib.metadata
import importlib.util
import json
import operator
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: The version of the manifest's form that this file reads.
SCHEMA = 1
MANIFEST = "manifest.json"

_INTEGERS = {"i32": "int32", "i64": "int64"}
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", **_INTEGERS}
_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {
    "cdiv": lambda a, b: -(-a // b),
    "max": max,
    "min": min,
    "bits": int.bit_length,
}


class ExportError(RuntimeError):
    """An export that cannot be used, or a call that does not fit it: what is wrong, what to do."""


def load(folder: str | os.PathLike[str] | None = None) -> Kernels:
    """The kernels of an export, by default of the folder this file is in.

    Raises:
        ExportError: the manifest or a file is missing, damaged or of another version, or this
            machine cannot run the kernels. Nothing of it has run then.
    """
    place = Path(folder) if folder is not None else Path(__file__).resolve().parent
    manifest = read_manifest(place)
    check_files(place, manifest)
    kind = manifest["target"].get("kind")
    if kind == "cpu":
        _check_machine(manifest)
        return CpuKernels(place, manifest)
    return Kernels(place, manifest)


def digest(manifest: Mapping[str, Any]) -> str:
    """The hash of a manifest's content, which it carries as ``digest``."""
    content = {key: value for key, value in manifest.items() if key != "digest"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The checked manifest of an export. Raises `ExportError`."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise ExportError(f"{path}: is not JSON ({error}); export again") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        given = manifest.get("schema") if isinstance(manifest, dict) else None
        raise ExportError(f"{path}: has schema {given!r}, this loader reads {SCHEMA}; export again")
    if manifest.get("digest") != digest(manifest):
        raise ExportError(f"{path}: was changed after it was written; export again")
    return manifest


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `ExportError` unless every file of an export is what was written."""
    for name, expected in manifest["files"].items():
        path = folder / name
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ExportError(f"{path}: cannot be read: {error.strerror}; export again") from error
        if found != expected:
            raise ExportError(f"{path}: is damaged (its hash is not the manifest's); export again")


def evaluate(text: str | int, sizes: Mapping[str, int]) -> int:
    """A size expression of a manifest, such as ``cdiv(L, 16) * B``, as a number.

    Names are `sizes`; ``+ - *``, cdiv (a quotient rounded up), max, min and bits (of an integer)
    are all there is. Raises `ExportError` for anything else.
    """

    def value(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int() as number):
                return number
            case ast.Name(id=name) if name in sizes:
                return sizes[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
            case ast.Call(func=ast.Name(id=name), args=args) if name in _FUNCTIONS:
                return _FUNCTIONS[name](*map(value, args))
        raise ExportError(f"size {text!r}: {ast.unparse(node)} is unknown here")

    try:
        return value(ast.parse(str(text), mode="eval").body)
    except SyntaxError as error:
        raise ExportError(f"size {text!r}: cannot be read") from error


class Kernels:
    """An export whose files are what was written.

    Attributes:
        folder, manifest: where it is, and its manifest.
        groups: the records of its kernel groups by name, in the order in which they run.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.groups: dict[str, dict[str, Any]] = {g["name"]: g for g in manifest["groups"]}

    def sizes(self, B: int, L: int, Lkv: int) -> dict[str, int]:
        """Every name of the manifest's size expressions for one call."""
        constants: dict[str, int] = self.manifest["shape"]["constants"]
        return {**constants, "B": B, "L": L, "R": L, "Lkv": Lkv, "C": Lkv // constants["S"]}

    def launches(self, group: str, B: int, L: int, Lkv: int) -> list[dict[str, Any]]:
        """A group's launches in order: its records with every size as a number."""
        sizes = self.sizes(B, L, Lkv)

        def number(value: Any, key: str = "") -> Any:
            if isinstance(value, dict):
                return {name: number(item, name) for name, item in value.items()}
            if isinstance(value, list):
                return [number(item, key) for item in value]
            return evaluate(value, sizes) if key in ("grid", "value", "shape", "strides") else value

        return [number(launch) for launch in self._group(group)["launches"]]

    def workspaces(self, group: str, B: int, L: int, Lkv: int) -> dict[str, int]:
        """Elements of each temporary buffer of a group."""
        sizes = self.sizes(B, L, Lkv)
        spaces = self._group(group)["workspaces"]
        return {space["name"]: evaluate(space["count"], sizes) for space in spaces}

    def _group(self, name: str) -> dict[str, Any]:
        if name not in self.groups:
            raise ExportError(f"no kernel group {name!r}; there are: {', '.join(self.groups)}")
        return self.groups[name]


class CpuKernels(Kernels):
    """An export for CPUs, its library loaded."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        super().__init__(folder, manifest)
        self._ffi = _load_runtime(folder, manifest)
        path = folder / manifest["library"]
        self._functions: dict[str, Any] = {}
        try:
            library = ctypes.CDLL(str(path))
            self._message = library[f"{manifest['name']}_last_error"]
            for name, record in self.groups.items():
                # Another look-up would give another object, without these types.
                function = self._functions[name] = library[record["function"]]
                tensors = len(record["inputs"]) + len(record["outputs"])
                function.argtypes = [ctypes.c_int64] * 3 + [ctypes.c_void_p] * tensors
                function.restype = ctypes.c_int32
        except (OSError, AttributeError) as error:
            raise ExportError(f"{path}: cannot be loaded: {error}") from error
        self._message.restype = ctypes.c_char_p

    def forward(self, outputs: Mapping[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
        """Run the forward groups.

        Args:
            outputs: arrays to write some of the results into; the others are new NumPy arrays.
                Results in bf16, which NumPy lacks, must be given.
            inputs: q, k, v, q_slc, landmarks and what else the groups read; without lo and hi,
                queries have the positions 0 .. L - 1.

        Returns:
            Everything the groups compute, by name.
        """
        return self._run("forward", inputs, outputs)

    def backward(self, outputs: Mapping[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
        """Run the backward groups: `inputs` are d_out, the forward's inputs and its results.

        Returns:
            Everything they compute by name: d_q, d_k, d_v, d_q_slc, d_landmarks among them.
        """
        return self._run("backward", inputs, outputs)

    def visible(self, batch: int, tokens: int, kv_tokens: int, offset: int = 0) -> tuple[Any, Any]:
        """lo and hi, i32 [B, L], of queries at the positions offset .. offset + L - 1: a chunk is
        visible once it is complete and strictly past."""
        import numpy as np

        chunk = self.manifest["shape"]["constants"]["S"]
        position = np.arange(tokens, dtype=np.int64) + offset
        hi = np.minimum(position // chunk, kv_tokens // chunk).astype(np.int32)
        hi = np.tile(hi, (batch, 1))
        return np.zeros_like(hi), hi

    def call(
        self,
        group: str,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any] | None = None,
        **sizes: int,
    ) -> dict[str, Any]:
        """Run one kernel group.

        Args:
            group: its name.
            inputs: its inputs by name; others are ignored.
            outputs: arrays to write some of its outputs into.
            sizes: B, L or Lkv where the inputs do not say.

        Returns:
            Its outputs by name.

        Raises:
            ExportError: an input is missing or of another shape, dtype, device or layout.
        """
        record, given = self._group(group), dict(outputs or {})
        tensors = {}
        for entry in record["inputs"]:
            if entry["name"] not in inputs:
                raise ExportError(f"{group} needs {entry['name']}, {_words(entry)}")
            tensors[entry["name"]] = self._tensor(entry, inputs[entry["name"]])
        known = self._known(record["inputs"], tensors, sizes)
        missing = [name for name in ("B", "L", "Lkv") if name not in known]
        if missing:
            raise ExportError(f"{group}: its inputs do not say {', '.join(missing)}: give it too")
        known = self.sizes(known["B"], known["L"], known["Lkv"])
        results = {}
        for entry in record["outputs"]:
            name = entry["name"]
            results[name] = given[name] if name in given else _empty(entry, known)
            tensors[name] = self._tensor(entry, results[name])
        self._check_shapes(group, record["inputs"] + record["outputs"], tensors, known)
        pointers = [tensors[e["name"]].data_ptr() for e in record["inputs"] + record["outputs"]]
        if self._functions[group](known["B"], known["L"], known["Lkv"], *pointers):
            raise ExportError(self._message().decode(errors="replace"))
        return results

    def _run(
        self, direction: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        names = [name for name, g in self.groups.items() if g["pass"] == direction]
        if not names:
            raise ExportError(f"this export has no {direction} kernels: export with --passes both")
        entries = [e for g in self.groups.values() for e in g["inputs"] if e["name"] in inputs]
        known = self._known(entries, inputs, {})
        sizes = {name: known[name] for name in ("B", "L", "Lkv") if name in known}
        results: dict[str, Any] = {}
        if direction == "forward" and not {"lo", "hi"} & set(inputs) and len(sizes) == 3:
            lo, hi = self.visible(sizes["B"], sizes["L"], sizes["Lkv"])
            inputs = {**inputs, "lo": lo, "hi": hi}
        for name in names:
            results |= self.call(name, {**inputs, **results}, outputs, **sizes)
        return results

    def _tensor(self, entry: Mapping[str, Any], value: Any) -> Any:
        """An argument through DLPack: its dtype, device and layout are what the entry says."""
        name = entry["name"]
        try:
            tensor = self._ffi.from_dlpack(value)
        except Exception as error:  # whatever the array's own library raises
            raise ExportError(f"{name}: cannot be read through DLPack: {error}") from error
        if not str(tensor.device).startswith("cpu"):
            raise ExportError(f"{name}: is on {tensor.device}, give an array on the CPU")
        if str(tensor.dtype) != _DTYPES[entry["dtype"]]:
            raise ExportError(f"{name}: has dtype {tensor.dtype}, expected {_words(entry)}")
        if not tensor.is_contiguous():
            raise ExportError(f"{name}: is not contiguous, expected {_words(entry)}")
        return tensor

    def _known(
        self, entries: list[dict[str, Any]], arrays: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> dict[str, int]:
        """The sizes that arrays say, by axes that are one name; C stands for C chunks of keys."""
        known = dict(sizes)
        for entry in entries:
            shape = getattr(arrays[entry["name"]], "shape", ())
            for axis, size in zip(entry["shape"], shape, strict=False):
                if isinstance(axis, str) and axis.isidentifier():
                    known.setdefault(axis, int(size))
        if "Lkv" not in known and "C" in known:
            known["Lkv"] = known["C"] * self.manifest["shape"]["constants"]["S"]
        return known

    def _check_shapes(
        self,
        group: str,
        entries: list[dict[str, Any]],
        tensors: Mapping[str, Any],
        known: Mapping[str, int],
    ) -> None:
        for entry in entries:
            expected = [evaluate(axis, known) for axis in entry["shape"]]
            found = list(map(int, tensors[entry["name"]].shape))
            if found != expected:
                raise ExportError(
                    f"{group}: {entry['name']} has shape {found}, expected {expected}: "
                    f"{_words(entry)}"
                )


def _words(entry: Mapping[str, Any]) -> str:
    return f"{entry['dtype']} [{', '.join(map(str, entry['shape']))}]"


def _empty(entry: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
    """A new array for an output."""
    import numpy as np

    if entry["dtype"] == "bf16":
        raise ExportError(
            f"{entry['name']} is bf16, which NumPy lacks: give outputs={{{entry['name']!r}: ...}}"
        )
    return np.empty([evaluate(axis, sizes) for axis in entry["shape"]], _DTYPES[entry["dtype"]])


# -- what a CPU export needs of the machine ------------------------------------------------------
def _check_machine(manifest: Mapping[str, Any]) -> None:
    """Raise where this machine cannot run the code: another processor or missing extensions."""
    target = manifest["target"]
    if platform.machine() != target["machine"]:
        raise ExportError(
            f"compiled for {target['machine']}, this machine is {platform.machine()}: export there"
        )
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text(errors="replace").split()) if cpuinfo.is_file() else set()
    missing = [flag for flag in target["flags"] if words and flag not in words]
    if missing:
        raise ExportError(
            f"compiled for {target['arch']}, this CPU lacks {', '.join(missing)}: export with "
            "--target cpu:NAME for one that has no more than this machine"
        )


def _load_runtime(folder: Path, manifest: Mapping[str, Any]) -> Any:
    """The tvm_ffi module, with TVM's runtime library in the process."""
    os.environ.setdefault("TVM_NUM_THREADS", str(manifest["target"]["threads"]))
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "3000")  # as `hsa_compiler.threads` has it
    try:
        import tvm_ffi
    except ImportError as error:
        raise ExportError("tvm_ffi is missing: pip install apache-tvm-ffi") from error
    _check_version("apache-tvm-ffi", manifest["versions"]["tvm_ffi"])
    try:
        # Two copies of the runtime in a process abort it: take the one that is there.
        ctypes.CDLL("libtvm_runtime.so", mode=ctypes.RTLD_GLOBAL | os.RTLD_NOLOAD)
        return tvm_ffi
    except OSError:
        pass
    path = folder / "libtvm_runtime.so"
    installed = _installed_runtime()
    if installed is not None:
        # Before the one beside the kernels, since the process may still import tvm.
        if not path.is_file() or _same(_version("apache-tvm"), manifest["versions"]["tvm"]):
            _check_version("apache-tvm", manifest["versions"]["tvm"])
            path = installed
    elif not path.is_file():
        raise ExportError(
            "libtvm_runtime.so is missing: pip install apache-tvm, or export again with --bundle"
        )
    try:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ExportError(f"{path}: cannot be loaded: {error}") from error
    return tvm_ffi


def _check_version(package: str, built: str) -> None:
    """Raise unless an installed package is of the version that was built with."""
    found = _version(package)
    if not _same(found, built):
        raise ExportError(
            f"{package} is {found}, the kernels were built with {built}: pip install "
            f"'{package}=={built}', or export again"
        )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _same(one: str, other: str) -> bool:
    """Whether two versions agree in major and minor number."""
    return one.split(".")[:2] == other.split(".")[:2]


def _installed_runtime() -> Path | None:
    """TVM's runtime library in the installed package, which is not imported."""
    package = importlib.util.find_spec("tvm")
    for place in (package.submodule_search_locations or ()) if package else ():
        path = Path(place) / "lib" / "libtvm_runtime.so"
        if path.is_file():
            return path
    return None
