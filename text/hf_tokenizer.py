"""Loads the tokenizer of a Hugging Face style model folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tokenizers

from ftllm.errors import CheckpointError, UnsupportedModelError
from ftllm.text.bpe_backend import add_special
from ftllm.text.end_tokens import end_token_ids
from ftllm.text.model_folder import ModelFolder
from ftllm.text.tiktoken_ranks import RANK_FILES, find_ranks, tokenizer_from_ranks
from ftllm.text.tokenizer import SpecialTokens, Tokenizer
from ftllm.text.vocabulary import SPACE_MARK, Spelling, Vocabulary

_TOKENIZER_FILE = "tokenizer.json"


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`: tokenizer.json, else a file of tiktoken ranks.

    tokenizer_config.json and special_tokens_map.json name the special tokens, generation_config
    and config give the ids that end a text. Raises `CheckpointError` if there is no tokenizer or
    it is damaged, `UnsupportedModelError` if it is of a kind that is not one of ours.
    """
    path = folder / _TOKENIZER_FILE
    if not path.is_file():
        ranks = find_ranks(folder)
        if ranks is not None:
            return tokenizer_from_ranks(ranks, ModelFolder(folder))
        raise CheckpointError(
            f"{folder} holds no tokenizer; looked for {_TOKENIZER_FILE}, {', '.join(RANK_FILES)}; "
            "download the folder's tokenizer files too"
        )
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower type
        raise CheckpointError(
            f"{path} cannot be read as a tokenizer ({error}); download it again"
        ) from error
    return _wrap(backend, ModelFolder(folder))


def _wrap(backend: tokenizers.Tokenizer, files: ModelFolder) -> Tokenizer:
    backend.no_truncation()
    backend.no_padding()
    spelling, drops_first_space = _spelling(backend, files.path)
    added = backend.get_added_tokens_decoder()
    known = {token.content for token in added.values()}
    special_texts = files.special_texts()
    in_vocabulary = [text for text in special_texts if backend.token_to_id(text) is not None]
    add_special(backend, [text for text in in_vocabulary if text not in known])
    added = backend.get_added_tokens_decoder()
    vocabulary = backend.get_vocab()
    pieces: list[str | None] = [None] * (1 + max(vocabulary.values(), default=-1))
    for piece, token_id in vocabulary.items():
        pieces[token_id] = piece
    bos = _token_id(backend, files.token_text("bos_token"))
    eos = _token_id(backend, files.token_text("eos_token"))
    prefix, suffix = _surroundings(backend)
    special = SpecialTokens(
        bos_token_id=bos,
        eos_token_id=eos,
        eos_token_ids=_ends(backend, files, eos),
        special_ids=frozenset(
            {token_id for token_id, token in added.items() if token.special}
            | {_known_id(backend, text) for text in in_vocabulary}
        ),
        prefix_ids=_with_token(prefix, bos, files.flag("add_bos_token"), first=True),
        suffix_ids=_with_token(suffix, eos, files.flag("add_eos_token"), first=False),
        between_ids=_between(backend, prefix, suffix),
    )
    return Tokenizer(
        backend,
        Vocabulary(
            pieces,
            spelling=spelling,
            literal_ids=added if spelling is Spelling.BYTE_LEVEL else (),
        ),
        special,
        drops_first_space=drops_first_space,
        chat_template=files.chat_template(),
    )


def _spelling(backend: tokenizers.Tokenizer, folder: Path) -> tuple[Spelling, bool]:
    """How the vocabulary writes bytes, and whether a text's first space is not part of it."""
    decoder = backend.decoder
    state = {} if decoder is None else json.loads(decoder.__getstate__())
    steps = state["decoders"] if state.get("type") == "Sequence" else [state]
    kinds = [step.get("type") for step in steps]
    if "ByteLevel" in kinds:
        return Spelling.BYTE_LEVEL, False
    if "WordPiece" in kinds:
        return Spelling.WORDPIECE, True
    for step in steps:
        if step.get("type") == "Metaspace":
            prepends = step.get("prepend_scheme", "always") != "never"
            return Spelling.SENTENCEPIECE, prepends and step.get("add_prefix_space", True)
        if step.get("type") == "Replace" and step.get("pattern") == {"String": SPACE_MARK}:
            strips = [step for step in steps if step.get("type") == "Strip"]
            return Spelling.SENTENCEPIECE, any(step.get("start", 0) > 0 for step in strips)
    raise UnsupportedModelError(
        f"{folder / _TOKENIZER_FILE} decodes by {' + '.join(map(str, kinds)) or 'nothing'}, "
        "which is not supported; supported: ByteLevel, WordPiece, Metaspace, and Replace of "
        f"{SPACE_MARK!r} with ByteFallback"
    )


def _surroundings(backend: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """What the post-processor puts before and after a text."""
    inner: list[int] = backend.encode("a", add_special_tokens=False).ids
    whole: list[int] = backend.encode("a", add_special_tokens=True).ids
    for start in range(len(whole) - len(inner) + 1):
        if whole[start : start + len(inner)] == inner:
            return whole[:start], whole[start + len(inner) :]
    return [], []


def _between(
    backend: tokenizers.Tokenizer, prefix: Sequence[int], suffix: Sequence[int]
) -> tuple[int, ...]:
    """What the post-processor puts between the texts of a pair."""
    inner: list[int] = backend.encode("a", add_special_tokens=False).ids
    pair: list[int] = backend.encode("a", "a", add_special_tokens=True).ids
    start = len(prefix) + len(inner)
    end = len(pair) - len(suffix) - len(inner)
    around = (pair[:start], pair[end:])
    return tuple(pair[start:end]) if around == ([*prefix, *inner], [*inner, *suffix]) else ()


def _with_token(
    ids: Sequence[int], token_id: int | None, wanted: bool | None, *, first: bool
) -> tuple[int, ...]:
    """`ids` with or without `token_id`, if the configuration says which; else as they are."""
    if token_id is None or wanted is None or wanted == (token_id in ids):
        return tuple(ids)
    if not wanted:
        return tuple(other for other in ids if other != token_id)
    return (token_id, *ids) if first else (*ids, token_id)


def _ends(backend: tokenizers.Tokenizer, files: ModelFolder, eos: int | None) -> frozenset[int]:
    stated = files.eos_ids()
    if not stated:  # only the spelling tells which tokens end a turn
        stated = end_token_ids(backend.token_to_id)
    return stated if eos is None else stated | {eos}


def _token_id(backend: tokenizers.Tokenizer, text: str | None) -> int | None:
    return None if text is None else backend.token_to_id(text)


def _known_id(backend: tokenizers.Tokenizer, text: str) -> int:
    token_id = backend.token_to_id(text)
    assert token_id is not None
    return token_id
