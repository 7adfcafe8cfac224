"""How a loaded model makes vectors and scores of texts: from its files, or as the options say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ftllm.engine.checkpoints import Checkpoint
from ftllm.engine.checkpoints.json_object import read_json_object
from ftllm.engine.pooling import EmbeddingParams, PoolingMethod, TokenScoresParams
from ftllm.errors import CheckpointError, OptionError, RequestError, UnsupportedModelError
from ftllm.text.judge_prompt import JudgePrompt
from ftllm.text.tokenizer import Tokenizer

POOLING = ("auto", *(method.value for method in PoolingMethod))
SCORING = ("auto", "cosine", "yes_no")
CLASSIFIER = "classifier"  # the scoring of models that can do nothing else

# GGUF's <architecture>.pooling_type
_GGUF_METHODS = {1: PoolingMethod.MEAN, 2: PoolingMethod.CLS, 3: PoolingMethod.LAST}
_GGUF_RANK = 4
_GGUF_JUDGE = "tokenizer.chat_template.rerank"
# pooling_mode… of a sentence-transformers Pooling module
_MODULE_METHODS = {
    "pooling_mode_cls_token": PoolingMethod.CLS,
    "pooling_mode_mean_tokens": PoolingMethod.MEAN,
    "pooling_mode_lasttoken": PoolingMethod.LAST,
}
_NAMED_METHODS = {
    "cls": PoolingMethod.CLS,
    "mean": PoolingMethod.MEAN,
    "lasttoken": PoolingMethod.LAST,
}
# Modules that change a vector in a way that is not known here.
_UNSUPPORTED_MODULES = ("Dense", "LayerNorm", "CNN", "LSTM", "WeightedLayerPooling")


@dataclass(frozen=True, slots=True)
class Judge:
    """A causal reranker: its score of a pair is the share of "yes" against "no" after a prompt."""

    prompt: JudgePrompt
    answers: TokenScoresParams  # (yes, no)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingProfile:
    """`judge` None: the score of two texts is the cosine of their vectors, or what a model that
    `classifies` says of both together."""

    method: PoolingMethod
    normalize: bool
    size: int  # values of a vector
    judge: Judge | None = None
    classifies: bool = False  # its only value is a logit of the pair, at the first token

    @property
    def scoring(self) -> str:
        """As the API calls it."""
        if self.classifies:
            return CLASSIFIER
        return "cosine" if self.judge is None else "yes_no"

    def embedding(self, dimensions: int | None = None) -> EmbeddingParams:
        """What `/v1/embeddings` asks for. Raises `RequestError` for a model without vectors."""
        if self.classifies:
            raise RequestError(
                "This model scores pairs of texts and gives no embeddings; use /v1/rerank or"
                " /v1/score.",
                param="model",
                code="unsupported_model",
            )
        return EmbeddingParams(method=self.method, normalize=self.normalize, dimensions=dimensions)

    def direction(self) -> EmbeddingParams:
        """A vector for cosines, whatever the length of the model's own."""
        return EmbeddingParams(method=self.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Findings:
    """What a checkpoint says of itself; None where it says nothing."""

    method: PoolingMethod | None = None
    normalize: bool | None = None
    judge_template: str | None = None  # "" = the published one
    judge_ids: tuple[int, int] | None = None  # (yes, no)


def check_pooling(pooling: str, scoring: str) -> None:
    """Raise `OptionError` unless both are known."""
    for name, value, known in (("pooling", pooling, POOLING), ("scoring", scoring, SCORING)):
        if value not in known:
            raise OptionError(f"{name} is {value!r}; supported are {', '.join(known)}")


def find_profile(
    checkpoint: Checkpoint,
    folder: Path | None,
    tokenizer: Tokenizer,
    *,
    pooling: str,
    scoring: str,
    causal: bool,
    classifies: bool,
    size: int,
) -> PoolingProfile:
    """`pooling` and `scoring` "auto": what the checkpoint says, in its GGUF metadata or in the
    sentence-transformers files of `folder`; else the last token of a causal model and the mean of
    an encoder, of length 1, compared by cosine."""
    if classifies:
        return _classifier(pooling, scoring, size)
    if checkpoint.format == "gguf":
        found = _from_gguf(checkpoint.metadata)
    else:
        found = _from_modules(folder) if folder is not None else _Findings()
    method = found.method or (PoolingMethod.LAST if causal else PoolingMethod.MEAN)
    if pooling != "auto":
        method = PoolingMethod(pooling)
    judge = None
    if scoring == "yes_no" or (scoring == "auto" and found.judge_template is not None):
        judge = _judge(found, tokenizer)
    normalize = True if found.normalize is None else found.normalize
    return PoolingProfile(method=method, normalize=normalize, size=size, judge=judge)


def _classifier(pooling: str, scoring: str, size: int) -> PoolingProfile:
    for name, value in (("pooling", pooling), ("scoring", scoring)):
        if value != "auto":
            raise OptionError(
                f"{name} is {value!r}, but this model scores pairs by its classifier; leave it out"
            )
    return PoolingProfile(method=PoolingMethod.CLS, normalize=False, size=size, classifies=True)


def _judge(found: _Findings, tokenizer: Tokenizer) -> Judge:
    prompt = JudgePrompt(found.judge_template) if found.judge_template else JudgePrompt()
    ids = found.judge_ids or (_single_id(tokenizer, "yes"), _single_id(tokenizer, "no"))
    return Judge(prompt, TokenScoresParams(token_ids=ids))


def _single_id(tokenizer: Tokenizer, word: str) -> int:
    ids = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1:
        raise OptionError(
            f"scoring by yes_no needs {word!r} as one token, but this model spells it in"
            f" {len(ids)}; give --scoring cosine"
        )
    return ids[0]


def _from_gguf(metadata: Mapping[str, object]) -> _Findings:
    kind = metadata.get(f"{metadata.get('general.architecture')}.pooling_type")
    template = metadata.get(_GGUF_JUDGE)
    judges = kind == _GGUF_RANK and isinstance(template, str)
    return _Findings(
        method=_GGUF_METHODS.get(kind) if isinstance(kind, int) else None,
        judge_template=str(template) if judges else None,
    )


def _from_modules(folder: Path) -> _Findings:
    method, judge_ids, normalize = None, None, None
    for kind, path in _modules(folder):
        normalize = normalize or kind == "Normalize"
        if kind == "Pooling":
            method = _module_method(read_json_object(path / "config.json"), path)
        elif kind == "LogitScore":
            judge_ids = _module_ids(read_json_object(path / "config.json"), path)
        elif kind in _UNSUPPORTED_MODULES:
            raise UnsupportedModelError(
                f"{folder / 'modules.json'} names a {kind} module, which is not supported;"
                " supported are Transformer, Pooling, Normalize and LogitScore"
            )
    return _Findings(
        method=method,
        normalize=normalize,
        judge_ids=judge_ids,
        judge_template=None if judge_ids is None else "",
    )


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """The kind and folder of each sentence-transformers module; none without modules.json."""
    file = folder / "modules.json"
    if not file.is_file():
        return
    try:
        modules = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} cannot be read as JSON ({error}); download it again"
        ) from error
    if not isinstance(modules, list):
        raise CheckpointError(f"{file} holds {type(modules).__name__}, not an array of modules")
    for module in modules:
        kind = module.get("type") if isinstance(module, dict) else None
        path = module.get("path") if isinstance(module, dict) else None
        if not isinstance(kind, str) or not isinstance(path, str):
            raise CheckpointError(f"{file}: a module needs the strings type and path")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise CheckpointError(f"{file}: the path {path!r} leads out of the model's folder")
        yield kind.rpartition(".")[2], folder / path


def _module_method(config: Mapping[str, object], path: Path) -> PoolingMethod:
    named = config.get("pooling_mode")
    chosen = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    if isinstance(named, str) and named in _NAMED_METHODS:
        return _NAMED_METHODS[named]
    if named is None and len(chosen) == 1 and chosen[0] in _MODULE_METHODS:
        return _MODULE_METHODS[chosen[0]]
    raise UnsupportedModelError(
        f"{path / 'config.json'} pools by {named or ', '.join(chosen) or 'nothing'}; supported are"
        f" {', '.join(_NAMED_METHODS)}, one of them"
    )


def _module_ids(config: Mapping[str, object], path: Path) -> tuple[int, int]:
    yes, no = config.get("true_token_id"), config.get("false_token_id")
    if not isinstance(yes, int) or not isinstance(no, int):
        raise UnsupportedModelError(
            f"{path / 'config.json'}: true_token_id is {yes!r} and false_token_id {no!r}; two token"
            " ids are expected"
        )
    return yes, no
