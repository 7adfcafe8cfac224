"""Builds the tokenizer that a GGUF file describes in its `tokenizer.*` metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tokenizers

from ftllm.errors import CheckpointError, UnsupportedModelError
from ftllm.text.bpe_backend import (
    add_plain,
    add_special,
    byte_level_backend,
    sentencepiece_backend,
)
from ftllm.text.end_tokens import end_token_ids
from ftllm.text.gguf_vocabulary import GgufTokenizerKeys, TokenKind, TokenTable
from ftllm.text.merges import derive_merges
from ftllm.text.named_templates import join_templates
from ftllm.text.pretokenizers import (
    BYTE_LEVEL_MODELS,
    DEFAULT_KIND,
    SENTENCEPIECE_MODELS,
    SPACE_PREFIX_MODELS,
    gguf_kind,
)
from ftllm.text.tokenizer import SpecialTokens, Tokenizer
from ftllm.text.vocabulary import SPACE_MARK, Spelling, Vocabulary


def tokenizer_from_gguf(metadata: Mapping[str, object]) -> Tokenizer:
    """The tokenizer of a GGUF file, from its key/values.

    Raises `CheckpointError` for keys that are missing or do not fit together, and
    `UnsupportedModelError` for a kind of tokenizer that is not one of ours.
    """
    keys = GgufTokenizerKeys(metadata)
    model = keys.text("model")
    if model in BYTE_LEVEL_MODELS:
        return _byte_level(keys)
    if model in SENTENCEPIECE_MODELS:
        return _sentencepiece(keys, space_prefix=model in SPACE_PREFIX_MODELS)
    raise UnsupportedModelError(
        f"tokenizer.ggml.model is {model!r}, a tokenizer that is not supported; supported: "
        f"{', '.join(sorted(BYTE_LEVEL_MODELS | SENTENCEPIECE_MODELS))}"
    )


def _byte_level(keys: GgufTokenizerKeys) -> Tokenizer:
    kind = gguf_kind(keys.text("pre", default=DEFAULT_KIND))
    table = keys.tokens()
    merges = keys.merges()
    if merges is None:
        raise CheckpointError(
            "tokenizer.ggml.merges is missing, and a byte-level vocabulary needs it; "
            "convert the model again with a current converter"
        )
    backend = byte_level_backend(_ids(table.pieces), merges, kind)
    return _assemble(keys, backend, table, Spelling.BYTE_LEVEL, add_bos=kind.add_bos)


def _sentencepiece(keys: GgufTokenizerKeys, *, space_prefix: bool) -> Tokenizer:
    table = _spell_spaces(keys.tokens())
    merges = keys.merges()
    if merges is None:
        merges = derive_merges(table.best_first())
    unknown_id = keys.token_id("unknown_token_id", table)
    add_space_prefix = keys.flag("add_space_prefix", default=space_prefix)
    backend = sentencepiece_backend(
        _ids(table.pieces),
        merges,
        unknown=None if unknown_id is None else table.pieces[unknown_id],
        add_space_prefix=add_space_prefix,
        remove_extra_whitespaces=keys.flag("remove_extra_whitespaces", default=False),
        character_map=keys.character_map(),
    )
    return _assemble(
        keys,
        backend,
        table,
        Spelling.SENTENCEPIECE,
        add_bos=True,
        drops_first_space=add_space_prefix,
    )


def _assemble(
    keys: GgufTokenizerKeys,
    backend: tokenizers.Tokenizer,
    table: TokenTable,
    spelling: Spelling,
    *,
    add_bos: bool,
    drops_first_space: bool = False,
) -> Tokenizer:
    ends = end_token_ids(_ids(table.pieces).get)  # control tokens, whatever the file calls them
    control = {*table.ids_of(TokenKind.CONTROL), *ends}
    plain = [token for token in table.ids_of(TokenKind.USER_DEFINED) if token not in control]
    add_special(backend, (table.pieces[token] for token in sorted(control)))
    # SentencePiece reads its user-defined tokens with "▁" for spaces, but for a space put in front.
    after_normalizing = spelling is Spelling.SENTENCEPIECE and not drops_first_space
    texts = (table.pieces[token] for token in plain)
    add_plain(backend, texts, after_normalizing=after_normalizing)
    bos = keys.token_id("bos_token_id", table)
    eos = keys.token_id("eos_token_id", table)
    named = {keys.token_id(f"{name}_token_id", table) for name in ("eot", "eom")}
    add_bos = keys.flag("add_bos_token", default=add_bos)
    add_eos = keys.flag("add_eos_token", default=False)
    special = SpecialTokens(
        bos_token_id=bos,
        eos_token_id=eos,
        eos_token_ids=ends | {token for token in {eos, *named} if token is not None},
        special_ids=frozenset({*control, *table.ids_of(TokenKind.UNKNOWN)}),
        prefix_ids=(bos,) if bos is not None and add_bos else (),
        suffix_ids=(eos,) if eos is not None and add_eos else (),
    )
    literal = control.union(plain) if spelling is Spelling.BYTE_LEVEL else control
    return Tokenizer(
        backend,
        Vocabulary(table.pieces, spelling=spelling, literal_ids=literal),
        special,
        drops_first_space=drops_first_space,
        chat_template=join_templates(keys.templates()),
    )


def _ids(pieces: Sequence[str]) -> dict[str, int]:
    return {piece: token_id for token_id, piece in enumerate(pieces)}


def _spell_spaces(table: TokenTable) -> TokenTable:
    """User-defined tokens as they stand in a text: with spaces, which some files write "▁"."""
    pieces = list(table.pieces)
    for token_id in table.ids_of(TokenKind.USER_DEFINED):
        pieces[token_id] = pieces[token_id].replace(SPACE_MARK, " ")
    return TokenTable(pieces, table.kinds, table.scores)
