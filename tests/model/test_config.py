"""Presets, validation and the JSON form."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hsa_compiler.errors import ConfigError, InputError
from hsa_compiler.model.config import PRESETS, HSAConfig, preset
from hsa_compiler.model.hsa_ultralong import HSAUltraLong, WindowBlock


def count(config: HSAConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in HSAUltraLong(config).parameters())


def test_tiny_has_one_to_three_million_parameters() -> None:
    assert 1e6 < count(preset("tiny")) < 3e6


def test_345m_has_the_published_shape() -> None:
    config = preset("345m")
    # 102.7M embedding, 16 window blocks of 14.9M, 2 HSA layers of 15.7M, 12.5M chunk encoder:
    # the published name counts the embedding and the window blocks.
    assert count(config) == 386_895_168
    with torch.device("meta"):
        model = HSAUltraLong(config)
    blocks = [b for b in (*model.lower, *model.upper) if isinstance(b, WindowBlock)]
    counted = sum(p.numel() for block in blocks for p in block.parameters())
    assert len(blocks) == 16
    assert round((counted + model.embedding.weight.numel()) / 1e6) == 342


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"heads": 0}, "heads = 0"),
        ({"chunk_size": 48}, "chunk_size = 48: allowed are 16, 32, 64, 128"),
        ({"head_dim": 24}, "head_dim = 24"),
        ({"window_kv_heads": 3}, "window_kv_heads = 3 does not divide heads = 4"),
        ({"retrieval_heads": 3}, "retrieval_heads = 3"),
        ({"retrieval_heads": 4}, "needs weight_heads = 'query'"),
        ({"retrieval_dim": 24}, "retrieval_dim = 24"),
        ({"normalize": "lse_mix"}, "normalize = 'lse_mix'"),
        ({"normalize": "stick_breaking", "rank_scale": True}, "rank_scale needs"),
        ({"attention_backend": "numpy"}, "attention_backend = 'numpy'"),
        ({"init_std": 0.0}, "init_std = 0.0"),
    ],
)
def test_a_bad_value_is_named(small: HSAConfig, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        dataclasses.replace(small, **change)


def test_unknown_preset() -> None:
    with pytest.raises(InputError, match="choose from tiny, 345m"):
        preset("8b")


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.json"
    preset(name).save(path)
    assert HSAConfig.load(path) == preset(name)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda b: b.update(schema_version=99), "schema_version is 99"),
        (lambda b: b["model"].update(colour="red"), "model.colour"),
        (lambda b: b["model"].update(width="wide"), "model.width"),
        (lambda b: b["model"].update(width=12.5), "model.width"),
        (lambda b: b["model"].pop("top_k"), "model.top_k"),
        (lambda b: b["model"].update(chunk_size=48), "chunk_size = 48"),
        (lambda b: b.pop("model"), "model"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, small: HSAConfig, edit: Any, says: str) -> None:
    path = tmp_path / "model.json"
    body = json.loads(small.to_json())
    edit(body)
    path.write_text(json.dumps(body))
    with pytest.raises(ConfigError, match=says) as error:
        HSAConfig.load(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        HSAConfig.load(path)
