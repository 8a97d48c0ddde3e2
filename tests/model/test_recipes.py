"""The recipes are valid, fit their device, and report what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hsa_compiler.model.config import HSAConfig, preset
from hsa_compiler.model.niah import NiahTask
from hsa_compiler.model.recipes import recipe, train_needle, train_text
from hsa_compiler.model.training import TrainConfig

pytestmark = pytest.mark.usefixtures("naive_door")


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("name", ["tiny", "345m"])
def test_recipes_fit(name: str, text: bool, device: str) -> None:
    found = recipe(name, device, text)
    assert (found.synthetic == 1.0) != text
    assert found.precision == ("fp32" if name == "tiny" and device == "cpu" else "bf16")
    lengths = [length for _, length in found.stages]
    assert lengths == sorted(lengths)
    if not text and name == "tiny":
        # At first every chunk fits in the top-k, and some needles are out of the windows' reach.
        config = preset(name)
        assert lengths[0] <= config.top_k * config.chunk_size
        assert lengths[0] > config.reach


def test_needle_results_come_with_their_controls(tmp_path: Path, small: HSAConfig) -> None:
    config = TrainConfig(batch_tokens=128, stages=((0.0, 64),), synthetic=1.0, task=NiahTask())
    found = train_needle(
        tmp_path, device="cpu", model=small, config=config, lengths=[100, 200], samples=3, steps=2
    )
    assert (found["steps"], found["tokens"], found["longest_trained"]) == (2, 256, 64)
    asked = [(r["length"], r["distractors"], r["zero_hsa"]) for r in found["niah"]]
    assert asked == [
        (length, distractors, zero)
        for length in (100, 200)
        for distractors, zero in ((0, False), (3, False), (0, True))
    ]
    assert all(r["samples"] == 3 for r in found["niah"])


def test_text_results_come_with_the_bigram(tmp_path: Path, small: HSAConfig) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    found = train_text(
        text,
        tmp_path / "run",
        model=dataclasses.replace(small, init_std=0.1),
        steps=40,
        batch_tokens=512,
        stages=((0.0, 64),),
        lr=0.01,
    )
    assert found["steps"] == 40
    assert found["held_out_loss"] < found["bigram_loss"] < 2
