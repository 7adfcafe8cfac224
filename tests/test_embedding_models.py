"""Folders as embedding models and rerankers are published, through the offline API."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from ftllm import LLM, SamplingParams
from ftllm.errors import RequestError
from tests.golden.hidden import CLS, FIRST_WORD, SEP, load_hidden, write_bare_model
from tests.golden.rows import load_row, write_model

YES, NO = 5, 6


def words(ids: Sequence[int]) -> str:
    """The text of ids that are words."""
    return " ".join(f"w{token_id - FIRST_WORD}" for token_id in ids)


def write_tokenizer(folder: Path) -> None:
    """Words w0 to w248, "yes" and "no" in a vocabulary of 256; CLS and SEP around a text."""
    pieces = ["[UNK]", "[PAD]", "[MASK]", "[CLS]", "[SEP]", "yes", "no"]
    pieces += [f"w{number}" for number in range(249)]
    ids = {piece: place for place, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab=ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    backend.add_special_tokens(pieces[:5])
    backend.save(str(folder / "tokenizer.json"))


def write_modules(folder: Path, mode: str) -> None:
    """sentence-transformers' files of a model that pools and normalizes."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in kinds.items()
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))


def opened(folder: Path, **options: str) -> LLM:
    return LLM(
        folder,
        dtype="float32",
        kv_cache_dtype="float32",
        tokens=1024,
        threads=1,
        progress=False,
        **options,  # type: ignore[arg-type]
    )


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


@pytest.mark.parametrize(
    ("name", "mode"),
    [("bert", "mean_tokens"), ("xlm_roberta", "cls_token"), ("qwen3", "lasttoken")],
)
def test_an_embedding_model(name: str, mode: str, tmp_path: Path) -> None:
    """Bare tensor names, and the vector that its pooling module makes of transformers' states."""
    row = load_hidden(name)
    write_bare_model(row, tmp_path)
    write_tokenizer(tmp_path)
    write_modules(tmp_path, mode)
    expected = {
        "mean_tokens": row.hidden.mean(axis=0),
        "cls_token": row.hidden[0],
        "lasttoken": row.hidden[-1],
    }[mode]
    with opened(tmp_path) as llm:
        (found,) = llm.embed(row.prompt_ids)
        np.testing.assert_allclose(found.embedding, unit(expected), atol=1e-4)
        (cut,) = llm.embed(row.prompt_ids, dimensions=16)
        np.testing.assert_allclose(cut.embedding, unit(expected[:16]), atol=1e-4)
        texts = ["w1 w2 w3", "w9", "w3 w2 w1"]
        ids = [[CLS, 8, 9, 10, SEP], [CLS, 16, SEP], [CLS, 10, 9, 8, SEP]]
        from_texts, from_ids = llm.embed(texts), llm.embed(ids)
        assert [one.embedding for one in from_texts] == [one.embedding for one in from_ids]
        assert from_texts[0].prompt == texts[0]
        vectors = [np.array(one.embedding) for one in from_texts]
        scores = llm.score([(texts[0], texts[1]), (texts[1], texts[1])])
        assert scores == pytest.approx([vectors[0] @ vectors[1], 1.0], abs=1e-6)


def test_an_encoder_says_that_it_generates_nothing(tmp_path: Path) -> None:
    write_bare_model(load_hidden("bert"), tmp_path)
    write_tokenizer(tmp_path)
    with opened(tmp_path) as llm:
        assert any("mean, 64 values" in line for line in llm.loaded.summary)
        with pytest.raises(RequestError, match="no output layer"):
            llm.generate("w1")
        with pytest.raises(RequestError, match="maximum context length is 128 tokens"):
            llm.embed("w1 " * 127)
        assert len(llm.embed("w1 " * 126)[0].prompt_token_ids) == 128


def test_a_reranker_with_a_classifier(tmp_path: Path) -> None:
    """What transformers' logit becomes, for the pair whose sequence is the golden row's."""
    row = load_hidden("xlm_roberta_classifier")
    write_bare_model(row, tmp_path)
    write_tokenizer(tmp_path)
    first, second = row.prompt_ids[1:21], row.prompt_ids[23:-1]
    with opened(tmp_path) as llm:
        pair = (words(first), words(second))
        assert tuple(llm.loaded.tokenizer.encode_pair(*pair)) == row.prompt_ids
        (score,) = llm.score([pair])
        assert score == pytest.approx(1.0 / (1.0 + math.exp(-row.hidden[0, 0])), abs=1e-5)
        with pytest.raises(RequestError, match="gives no embeddings"):
            llm.embed("w1")


def test_a_reranker_that_answers_yes_or_no(tmp_path: Path) -> None:
    """The score is what generating would say of the two answers."""
    write_model(load_row("qwen3"), tmp_path)
    write_tokenizer(tmp_path)
    with opened(tmp_path, scoring="yes_no") as llm:
        assert any("scored by yes_no" in line for line in llm.loaded.summary)
        pairs = [("w1 w2", "w3"), ("w1 w2", "w4 w5")]
        scores = llm.score(pairs)
        judge = llm.loaded.pooling.judge
        assert judge is not None
        assert judge.answers.token_ids == (YES, NO)
        for pair, score in zip(pairs, scores, strict=True):
            ids = llm.loaded.tokenizer.encode(judge.prompt.render(*pair), add_special_tokens=False)
            logprobs = []
            for answer in (YES, NO):
                params = SamplingParams(max_tokens=1, prompt_logprobs=0)
                (result,) = llm.generate([*ids, answer], params)
                assert result.prompt_logprobs is not None
                entry = result.prompt_logprobs[-1]
                assert entry is not None
                logprobs.append(entry.logprob)
            yes, no = (math.exp(value) for value in logprobs)
            assert score == pytest.approx(yes / (yes + no), rel=1e-6)
