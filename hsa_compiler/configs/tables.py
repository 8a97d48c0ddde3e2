"""Tuned configs as the tuning tables of other projects.

    vllm     <family>,device_name=<device>.json ::= {tokens: knobs}, as vLLM's fused MoE reads them
    triton   hsa_<device slug>.py ::= <KERNEL> = {family: {tokens: triton.Config(knobs)}}, ...

A family is a shape class without its tokens: kernel, dims, tokens per chunk, dtype, selection and
variant. Tokens are the class's powers of two; the nearest one in log space holds. Only entries of
Triton have such a table.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hsa_compiler.configs.lookup import Winner
from hsa_compiler.configs.schema import Entry
from hsa_compiler.errors import ConfigError, InputError

#: How Triton's tuning tables would spell a knob; these are compile-time constants of a kernel.
CONSTANTS = {
    "order": "ORDER",
    "tokens": "BLOCK_TOKENS",
    "chunk_tile": "BLOCK_KEYS",
    "chunk_block": "BLOCK_CHUNKS",
    "top_k": "TOP_K",
    "pairs": "BLOCK_PAIRS",
    "split": "SPLIT_PAIRS",
    "parts": "NUM_PARTS",
    "fan": "GROUP_BLOCKS",
    "window": "WINDOW_ROWS",
    "combine": "COMBINE",
    "dim_block": "BLOCK_DIM",
    "index_blocks": "NUM_BLOCKS",
    "descriptors": "DESCRIPTORS",
}
#: ... and these arguments of `triton.Config` itself.
OPTIONS = {"warps": "num_warps", "stages": "num_stages", "registers": "maxnreg"}

_WORD = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True)
class Table:
    """The entries of one family on one device, by tokens; `name` is the family's."""

    name: str
    device: str
    slug: str
    entries: Mapping[int, Entry]

    @property
    def first(self) -> Entry:
        """The entry of the fewest tokens, for what all of them share."""
        return next(iter(self.entries.values()))


def tables(winners: Iterable[Winner]) -> list[Table]:
    """Families of the entries that Triton runs.

    Raises:
        InputError: there is none of these.
        ConfigError: a name in an entry cannot stand in a file's name.
    """
    families: dict[tuple[str, str, str], dict[int, Entry]] = defaultdict(dict)
    for winner in winners:
        if winner.entry.shape.backend == "triton":
            device = re.sub(r"[^\w.-]+", "_", winner.device.name, flags=re.ASCII)
            key = (winner.path.parent.name, device, _family(winner))
            families[key][winner.entry.shape.tokens] = winner.entry
    if not families:
        raise InputError(
            "these configs hold no Triton schedules, and only those have such a table: name a GPU "
            "with --device, or other --kernels"
        )
    return [
        Table(name, device, slug, dict(sorted(entries.items())))
        for (slug, device, name), entries in sorted(families.items())
    ]


def _family(winner: Winner) -> str:
    """``attend,D=64,H=1,...,tokens_per_chunk=64,dtype=bf16,selection=local,variant=9a7c02e1``."""
    shape, locality = winner.entry.shape, winner.entry.locality
    selection = locality.kind if locality.trace is None else f"trace_{locality.trace[:8]}"
    for word in (winner.path.parent.name, *shape.dims, shape.dtype, selection):
        if not _WORD.fullmatch(word):
            raise ConfigError(f"{winner.path}: {word!r} cannot stand in the name of a file")
    parts = [shape.kernel, *(f"{name}={size}" for name, size in sorted(shape.dims.items()))]
    if shape.chunks:
        parts.append(f"tokens_per_chunk={Fraction(shape.tokens, shape.chunks)}".replace("/", "_"))
    variant = hashlib.sha256(shape.variant.encode()).hexdigest()[:8]
    parts += [f"dtype={shape.dtype}", f"selection={selection}", f"variant={variant}"]
    return ",".join(parts)


def constants(entry: Entry) -> dict[str, Any]:
    """The knobs that a kernel's program depends on, as tuning tables spell them."""
    return {CONSTANTS[name]: x for name, x in entry.schedule.items() if name in CONSTANTS}


def options(entry: Entry) -> dict[str, int]:
    """The arguments of `triton.Config` that a kernel has; no `maxnreg` where there is no limit."""
    given = {OPTIONS[name]: x for name, x in entry.schedule.items() if name in OPTIONS}
    return {name: value for name, value in given.items() if value}


def as_vllm(found: Sequence[Table]) -> dict[str, str]:
    """Texts by file name, one per family. ``triton_version`` stands first, as in vLLM's own files,
    where the entries agree on it."""
    texts = {}
    for table in found:
        triton = {entry.provenance.triton for entry in table.entries.values()}
        data: dict[str, Any] = {"triton_version": triton.pop()} if len(triton) == 1 else {}
        for tokens, entry in table.entries.items():
            data[str(tokens)] = constants(entry) | options(entry)
        texts[f"{table.name},device_name={table.device}.json"] = json.dumps(data, indent=4) + "\n"
    return texts


def as_triton(found: Sequence[Table]) -> dict[str, str]:
    """Texts by file name, one importable module per device with a dict per kernel."""
    devices: dict[str, list[Table]] = defaultdict(list)
    for table in found:
        devices[table.slug].append(table)
    return {f"hsa_{slug}.py": _module(of_device) for slug, of_device in devices.items()}


def _module(found: Sequence[Table]) -> str:
    kernels: dict[str, list[Table]] = defaultdict(list)
    for table in found:
        kernels[table.first.shape.kernel].append(table)
    lines = [
        f'"""Schedules that hsa-compiler tuned on {found[0].device}.',
        "",
        "By kernel, family and tokens (powers of two); beside each the median of one launch.",
        '"""',
        "",
        "import triton",
    ]
    for kernel, families in kernels.items():
        lines += ["", f"{kernel.upper()} = {{"]
        for table in families:
            # A comment of one line, whatever characters the file holds.
            lines.append(f"    # {json.dumps(table.first.shape.variant)}")
            lines.append(f"    {json.dumps(table.name)}: {{")
            for tokens, entry in table.entries.items():
                lines.append(f"        {tokens}: triton.Config(  # {entry.time.median_ms:.3g} ms")
                lines.append(f"            {json.dumps(constants(entry))},")
                lines += [f"            {name}={x}," for name, x in options(entry).items()]
                lines.append("        ),")
            lines.append("    },")
        lines.append("}")
    return "\n".join(lines) + "\n"


#: What writes a format.
FORMATS = {"vllm": as_vllm, "triton": as_triton}
