"""Text corpora, mixing, and the bigram baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hsa_compiler.errors import InputError
from hsa_compiler.model.data import EOS, Batches, ByteCorpus, bigram_loss
from hsa_compiler.model.niah import NiahTask


def test_a_folder_is_read_in_order_without_binaries_and_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "b" / "two.md").write_text("zweité")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "data.bin").write_bytes(b"\0\1")
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe")
    (tmp_path / ".git" / "config").write_text("hidden")
    corpus = ByteCorpus.read(tmp_path)
    tokens = [*corpus.train.tolist(), *corpus.held_out.tolist()]
    assert tokens == [*b"one", EOS, *"zweité".encode(), EOS]


def test_the_last_tenth_is_held_out() -> None:
    corpus = ByteCorpus(np.arange(200, dtype=np.uint16), "numbers")
    assert corpus.train[-1] == 179
    assert corpus.held_out[0] == 180
    rows = corpus.held_out_rows(5, 100)
    assert rows.tolist() == [[180 + 5 * r + i for i in range(6)] for r in range(3)]
    assert corpus.held_out_rows(5, 7).shape == (1, 6)
    seen = corpus.batch(np.random.default_rng(0), 500, 10)
    assert seen.max() < 180
    assert (np.diff(seen, axis=1) == 1).all()


@pytest.mark.parametrize("content", [None, b"", b"\0"])
def test_no_text_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"no such file|no UTF-8 text"):
        ByteCorpus.read(path)


def test_text_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "secret.txt").write_text("text")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"cannot be read: .*secret\.txt"):
        ByteCorpus.read(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read: .*too long"):
        ByteCorpus.read(Path("x" * 300))


def test_too_little_text_is_an_error() -> None:
    corpus = ByteCorpus(np.zeros(50, dtype=np.uint16), "little")
    with pytest.raises(InputError, match="45 training bytes"):
        corpus.batch(np.random.default_rng(0), 1, 64)
    with pytest.raises(InputError, match="5 held-out bytes"):
        corpus.held_out_rows(64, 1)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    corpus = ByteCorpus(np.full(1000, ord("x"), dtype=np.uint16), "x")
    batches = Batches(corpus, NiahTask(), 0.5, seed=3)
    tokens, weights = batches.at(7, 40, 64)
    again, _ = Batches(corpus, NiahTask(), 0.5, seed=3).at(7, 40, 64)
    assert torch.equal(tokens, again)
    for seed, step in ((3, 8), (4, 7)):
        other, _ = Batches(corpus, NiahTask(), 0.5, seed=seed).at(step, 40, 64)
        assert not torch.equal(tokens, other)
    text = (tokens == ord("x")).all(dim=1)
    assert 8 < int(text.sum()) < 32
    assert (weights[text] == 1).all()
    assert (weights[~text] < 1).any()


def test_shares_must_fit_the_data() -> None:
    with pytest.raises(InputError, match="synthetic = 2"):
        Batches(None, NiahTask(), 2, seed=0)
    with pytest.raises(InputError, match="without text"):
        Batches(None, NiahTask(), 0.5, seed=0)


def test_bigram_loss_is_that_of_the_counts() -> None:
    rng = np.random.default_rng(0)
    chain = [0]
    for _ in range(20000):  # after a: b; after b: a or b by a coin
        chain.append(1 if chain[-1] == 0 else int(rng.integers(2)))
    tokens = np.array(chain, dtype=np.uint16)
    rows = tokens[15000:].astype(np.int64)[None]
    # A third of the tokens are a, and those are followed by b for certain.
    assert bigram_loss(tokens[:15000], rows, 4) == pytest.approx(2 / 3 * np.log(2), abs=0.01)
