"""Puts a model together: source, checkpoint, tokenizer, chat template, engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ftllm import _core
from ftllm.engine.build import BuildOptions, BuiltModel, build_model
from ftllm.engine.checkpoints import (
    Checkpoint,
    open_checkpoint,
    read_config,
    read_generation_config,
    source_bytes,
)
from ftllm.engine.engine import Engine
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.machine import parse_size
from ftllm.engine.speculation import check_method
from ftllm.engine.weights import dtype_warning
from ftllm.errors import CheckpointError, OptionError
from ftllm.model_facts import ModelFacts, PhaseClock
from ftllm.pooling_profile import PoolingProfile, check_pooling, find_profile
from ftllm.progress import Progress, ProgressTask
from ftllm.sources.cache import cache_root
from ftllm.sources.resolve import resolve
from ftllm.text.chat_template import ChatTemplate
from ftllm.text.gguf_tokenizer import tokenizer_from_gguf
from ftllm.text.grammar_compiler import GrammarCompiler
from ftllm.text.hf_tokenizer import load_tokenizer
from ftllm.text.tokenizer import Tokenizer

_PACK_FOLDER = "packed"

_Text = tuple[Tokenizer, ChatTemplate | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to load a model; the command line's flags have the same names."""

    model: str | None = None  # None: the default small model
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    threads: int | None = None
    device: str = "cpu"  # or "numa": each node computes with the weights in its own memory
    pin: str = "auto"  # compute threads to cores: "auto", "on" or "off"
    kv_cache_limit: str | None = None  # such as "4g"
    tokens: int | None = None
    max_batch: int = 64
    max_batched_tokens: int = 512
    max_model_len: int | None = None
    max_queue: int = 256
    max_queue_tokens: int = 0  # of prompts that wait; 0 = any number
    prefix_caching: bool = True
    speculative: str = "off"  # or "ngram": drafts from the request's own text
    pooling: str = "auto"  # of embeddings: "last", "mean", "cls"
    scoring: str = "auto"  # of pairs of texts: "cosine", "yes_no"
    cache_dir: Path | None = None
    revision: str | None = None
    ori: Path | None = None  # folder whose tokenizer and config win over a GGUF's own
    chat_template: Path | None = None
    model_name: str | None = None  # what the API calls it
    models_file: Path | None = None
    pack_cache: str = "auto"  # packed weights on disk: "auto" (what took long), "on" or "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """Sampling that the model's authors recommend; None where they say nothing."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to serve. The engine is made, not started."""

    name: str
    engine: Engine
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    max_model_len: int
    defaults: GenerationDefaults
    eos_token_ids: frozenset[int]
    pooling: PoolingProfile
    summary: tuple[str, ...]  # lines to print at start
    grammars: GrammarCompiler
    facts: ModelFacts
    model_type: str  # as config.json or the GGUF architecture names the family


def load_model(options: LoadOptions, *, progress: Progress) -> LoadedModel:
    """Fetch, check and pack a model.

    Raises `ModelSourceError`, `CheckpointError` or `OptionError`.
    """
    build_options = _build_options(options)
    build_options.check()
    check_method(options.speculative)
    check_pooling(options.pooling, options.scoring)
    clock = PhaseClock()
    with clock.phase("fetch"):
        files = resolve(
            options.model,
            cache_dir=options.cache_dir,
            revision=options.revision,
            models_file=options.models_file,
            progress=progress,
        )
    checkpoint = open_checkpoint(files.path)
    try:
        total = source_bytes(checkpoint)
        # A vocabulary takes one core as long as the weights of a small model take all of them.
        with (
            ThreadPoolExecutor(1, thread_name_prefix="tokenizer") as reader,
            progress.task("Loading weights", total, "B") as task,
        ):
            text = reader.submit(_read_text, checkpoint, files.path, options, clock)
            with clock.phase("weights"):
                built = build_model(
                    checkpoint,
                    build_options,
                    on_bytes=_advance_unless_failed(task, text),
                    original_config=None if options.ori is None else read_config(options.ori),
                )
            tokenizer, template = text.result()
        profile = find_profile(
            checkpoint,
            options.ori or (files.path if files.path.is_dir() else None),
            tokenizer,
            pooling=options.pooling,
            scoring=options.scoring,
            causal=built.causal,
            classifies=built.config.classifies,
            size=built.core.hidden_width,
        )
        generation = checkpoint.generation_config
        if options.ori is not None:
            generation = read_generation_config(options.ori)
    finally:
        checkpoint.close()
    config = EngineConfig(
        max_model_len=built.config.max_model_len,
        max_batch=options.max_batch,
        max_batched_tokens=built.executor.max_batched_tokens,
        max_queue=options.max_queue,
        max_queue_tokens=options.max_queue_tokens,
        prefix_caching=options.prefix_caching,
        speculative=options.speculative,
        vocab_size=built.config.vocab_size,
        embedding_size=built.core.hidden_width,
        generates=built.generates,
        causal=built.causal,
    )
    name = options.model_name or files.name
    eos_token_ids = tokenizer.eos_token_ids | _eos_ids(generation)
    grammars = GrammarCompiler(tokenizer, vocab_size=config.vocab_size, eos_token_ids=eos_token_ids)
    return LoadedModel(
        name=name,
        engine=Engine(built.executor, config, mask_filler=grammars),
        tokenizer=tokenizer,
        chat_template=template,
        max_model_len=min(built.config.max_model_len, built.kv_tokens),
        defaults=_generation_defaults(generation),
        eos_token_ids=eos_token_ids,
        pooling=profile,
        summary=_summary(name, built, options.dtype, profile),
        grammars=grammars,
        facts=_facts(built, config, clock),
        model_type=built.config.model_type,
    )


def _facts(built: BuiltModel, config: EngineConfig, clock: PhaseClock) -> ModelFacts:
    return ModelFacts(
        isa=_core.isa(),
        threads=built.core.threads,
        weight_formats=built.weight_formats,
        kv_dtype=built.kv_dtype,
        kv_block_size=built.executor.block_size,
        prefix_caching=config.prefix_caching,
        startup_seconds=clock.seconds,
    )


def _build_options(options: LoadOptions) -> BuildOptions:
    limit = options.kv_cache_limit
    return BuildOptions(
        dtype=options.dtype,
        kv_cache_dtype=options.kv_cache_dtype,
        threads=options.threads,
        pin=options.pin,
        device=options.device,
        kv_cache_bytes=None if limit is None else parse_size(limit, "kv_cache_limit"),
        tokens=options.tokens,
        max_batch=options.max_batch,
        max_batched_tokens=options.max_batched_tokens,
        max_model_len=options.max_model_len,
        pack_cache=options.pack_cache,
        pack_folder=cache_root(options.cache_dir) / _PACK_FOLDER,
    )


def _read_text(
    checkpoint: Checkpoint, path: Path, options: LoadOptions, clock: PhaseClock
) -> _Text:
    with clock.phase("tokenizer"):
        tokenizer = _tokenizer(checkpoint, path, options.ori)
        return tokenizer, _chat_template(tokenizer, options.chat_template)


def _advance_unless_failed(task: ProgressTask, text: Future[_Text]) -> Callable[[int], None]:
    """Counts on `task`; raises the error of `text` as soon as that has failed."""

    def advance(count: int) -> None:
        if text.done():
            text.result()
        task.advance(count)

    return advance


def _tokenizer(checkpoint: Checkpoint, path: Path, ori: Path | None) -> Tokenizer:
    if ori is not None:
        return load_tokenizer(ori)
    if checkpoint.format == "gguf":
        return tokenizer_from_gguf(checkpoint.metadata)
    return load_tokenizer(path)


def _chat_template(tokenizer: Tokenizer, file: Path | None) -> ChatTemplate | None:
    source = tokenizer.chat_template
    if file is not None:
        try:
            source = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"chat_template {file} cannot be read: {error}") from error
    if source is None:
        return None
    return ChatTemplate(source, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token)


def _generation_defaults(generation: Mapping[str, object]) -> GenerationDefaults:
    def number(key: str) -> float | None:
        value = generation.get(key)
        return float(value) if isinstance(value, int | float) and key != "top_k" else None

    if generation.get("do_sample") is False:
        return GenerationDefaults(temperature=0.0)
    top_k = generation.get("top_k")
    return GenerationDefaults(
        temperature=number("temperature"),
        top_p=number("top_p"),
        top_k=top_k if isinstance(top_k, int) and top_k > 0 else None,
        min_p=number("min_p"),
        repetition_penalty=number("repetition_penalty"),
    )


def _eos_ids(generation: Mapping[str, object]) -> frozenset[int]:
    value = generation.get("eos_token_id")
    ids = value if isinstance(value, list) else [value]
    if not all(isinstance(i, int | None) for i in ids):
        raise CheckpointError(f"generation_config.json: eos_token_id is {value!r}")
    return frozenset(i for i in ids if isinstance(i, int))


def _summary(name: str, built: BuiltModel, dtype: str, profile: PoolingProfile) -> tuple[str, ...]:
    config = built.config
    lines = [
        f"model    {name}: {config.model_type}, {config.num_layers} layers,"
        f" hidden size {config.hidden_size}, context {config.max_model_len}",
        f"weights  {_mib(built.packed_bytes)} as {', '.join(built.weight_formats)}",
        f"kernels  {_core.isa()}, {built.core.threads} threads",
        f"KV cache {built.kv_tokens} tokens, {_mib(built.kv_bytes)} as {built.kv_dtype}",
    ]
    lines += built.notes
    if not built.generates or profile.judge is not None:
        lines.append(
            f"pooling  {profile.method.value}, {profile.size} values; pairs are scored by"
            f" {profile.scoring}"
        )
    if config.max_model_len > config.max_position:
        lines.append(
            f"warning  max_model_len {config.max_model_len} is beyond the {config.max_position}"
            " positions that the model was made for; answers may degrade"
        )
    if (warning := dtype_warning(dtype)) is not None:
        lines.append(f"warning  {warning}")
    return tuple(lines)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
