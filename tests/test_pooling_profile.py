"""What a checkpoint says about its embeddings and scores, and what the options make of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest
from scripted_model import byte_tokenizer

from ftllm.engine.checkpoints import Checkpoint
from ftllm.engine.pooling import PoolingMethod
from ftllm.errors import CheckpointError, OptionError, RequestError, UnsupportedModelError
from ftllm.pooling_profile import PoolingProfile, check_pooling, find_profile


class BareCheckpoint:
    """The part of a checkpoint that is looked at."""

    def __init__(self, metadata: Mapping[str, object] | None = None) -> None:
        self.format = "safetensors" if metadata is None else "gguf"
        self.metadata = MappingProxyType(dict(metadata or {}))


def profile(
    folder: Path | None = None,
    *,
    metadata: Mapping[str, object] | None = None,
    pooling: str = "auto",
    scoring: str = "auto",
    causal: bool = True,
    classifies: bool = False,
) -> PoolingProfile:
    return find_profile(
        cast(Checkpoint, BareCheckpoint(metadata)),
        folder,
        byte_tokenizer(),
        pooling=pooling,
        scoring=scoring,
        causal=causal,
        classifies=classifies,
        size=8,
    )


def write_modules(folder: Path, *kinds: str, **configs: Mapping[str, object]) -> Path:
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": "" if place == 0 else f"{place}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    for place, kind in enumerate(kinds):
        if kind in configs:
            (folder / f"{place}_{kind}").mkdir()
            (folder / f"{place}_{kind}" / "config.json").write_text(json.dumps(configs[kind]))
    return folder


def test_without_a_word_from_the_checkpoint(tmp_path: Path) -> None:
    assert profile(tmp_path) == PoolingProfile(method=PoolingMethod.LAST, normalize=True, size=8)
    assert profile(tmp_path, causal=False).method is PoolingMethod.MEAN
    assert profile(None).method is PoolingMethod.LAST
    assert profile(tmp_path).scoring == "cosine"


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
        ({"pooling_mode_mean_tokens": True, "word_embedding_dimension": 8}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
def test_the_pooling_module(config: Mapping[str, object], method: str, tmp_path: Path) -> None:
    folder = write_modules(tmp_path, "Transformer", "Pooling", "Normalize", Pooling=config)
    assert profile(folder) == PoolingProfile(method=PoolingMethod(method), normalize=True, size=8)
    assert profile(folder, pooling="cls").method is PoolingMethod.CLS


def test_not_normalized_where_no_module_does(tmp_path: Path) -> None:
    config = {"pooling_mode_cls_token": True}
    folder = write_modules(tmp_path, "Transformer", "Pooling", Pooling=config)
    found = profile(folder)
    assert not found.normalize
    assert not found.embedding(3).normalize
    assert found.embedding(3).dimensions == 3
    assert found.direction().normalize  # a cosine does not depend on lengths


@pytest.mark.parametrize(
    ("kinds", "configs", "message"),
    [
        (("Transformer", "Dense"), {}, "names a Dense module"),
        (("Transformer", "Pooling"), {"Pooling": {"pooling_mode_max_tokens": True}}, "max_tokens"),
        (
            ("Transformer", "Pooling"),
            {"Pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}},
            "mean_tokens, pooling_mode_cls",
        ),
        (("Transformer", "Pooling"), {"Pooling": {}}, "pools by nothing"),
        (("Transformer", "LogitScore"), {"LogitScore": {"true_token_id": 3}}, "two token ids"),
    ],
)
def test_what_would_be_pooled_wrongly_is_refused(
    kinds: tuple[str, ...],
    configs: Mapping[str, Mapping[str, object]],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        profile(write_modules(tmp_path, *kinds, **configs))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("{}", "not an array"),
        ("[3]", "needs the strings"),
        ('[{"type": "a.Pooling", "path": "../up"}]', "leads out"),
        ('[{"type": "a.Pooling", "path": "/up"}]', "leads out"),
        ('[{"type": "a.Pooling", "path": "gone"}]', "no such file"),
    ],
)
def test_damaged_modules(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        profile(tmp_path)


@pytest.mark.parametrize(
    ("kind", "method"), [(1, "mean"), (2, "cls"), (3, "last"), (0, "last"), (None, "last")]
)
def test_gguf(kind: int | None, method: str) -> None:
    metadata = {"general.architecture": "tiny", "tiny.pooling_type": kind}
    assert profile(metadata=metadata).method is PoolingMethod(method)


def judge_metadata() -> dict[str, object]:
    return {
        "general.architecture": "tiny",
        "tiny.pooling_type": 4,
        "tokenizer.chat_template.rerank": "{query} and {document}?",
    }


def test_a_gguf_reranker_brings_its_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftllm.pooling_profile._single_id", lambda _, word: ord(word[0]))
    found = profile(metadata=judge_metadata())
    assert found.judge is not None
    assert found.scoring == "yes_no"
    assert found.judge.answers.token_ids == (ord("y"), ord("n"))
    assert found.judge.prompt.render("a", "b") == "a and b?"
    assert profile(metadata=judge_metadata(), scoring="cosine").judge is None


def test_a_module_names_the_answers(tmp_path: Path) -> None:
    ids = {"true_token_id": 65, "false_token_id": 66}
    found = profile(write_modules(tmp_path, "Transformer", "LogitScore", LogitScore=ids))
    assert found.judge is not None
    assert found.judge.answers.token_ids == (65, 66)
    assert "<Query>: a\n<Document>: b<|im_end|>" in found.judge.prompt.render("a", "b")


def test_answers_that_are_no_tokens() -> None:
    with pytest.raises(OptionError, match="'yes' as one token, but this model spells it in 3"):
        profile(scoring="yes_no")


def test_a_classifier_does_nothing_else() -> None:
    found = profile(causal=False, classifies=True)
    assert (found.scoring, found.method, found.normalize) == (
        "classifier",
        PoolingMethod.CLS,
        False,
    )
    with pytest.raises(RequestError, match="gives no embeddings"):
        found.embedding()
    with pytest.raises(OptionError, match="scoring is 'cosine', but"):
        profile(classifies=True, scoring="cosine")


def test_options() -> None:
    check_pooling("mean", "yes_no")
    with pytest.raises(OptionError, match="pooling is 'max'; supported are auto, last, mean, cls"):
        check_pooling("max", "auto")
    with pytest.raises(OptionError, match="scoring is 'dot'; supported are auto, cosine, yes_no"):
        check_pooling("auto", "dot")
