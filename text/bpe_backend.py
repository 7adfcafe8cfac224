"""The `tokenizers` objects that byte-level and SentencePiece vocabularies run on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import tokenizers
from tokenizers import AddedToken, Regex, models, normalizers

from ftllm.errors import CheckpointError
from ftllm.text.pretokenizers import PreTokenizerKind
from ftllm.text.vocabulary import SPACE_MARK

_BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def byte_level_backend(
    ids: Mapping[str, int], merges: Sequence[tuple[str, str]], kind: PreTokenizerKind
) -> tokenizers.Tokenizer:
    """BPE over the byte-level alphabet: words by `kind`, then `merges` in order."""
    backend = _with_model(ids, merges, ignore_merges=kind.ignore_merges)
    normalizer = kind.normalizer()
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.pre_tokenizer = kind.pre_tokenizer()
    return backend


def sentencepiece_backend(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    unknown: str | None,
    add_space_prefix: bool,
    remove_extra_whitespaces: bool,
    character_map: bytes,
) -> tokenizers.Tokenizer:
    """BPE over characters: no words, spaces written as "▁", lone bytes for unknown characters."""
    backend = _with_model(
        ids,
        merges,
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=all(piece in ids for piece in _BYTE_PIECES),
    )
    steps: list[normalizers.Normalizer] = []
    if character_map:
        steps.append(normalizers.Precompiled(character_map))
    if remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if add_space_prefix:
        steps.append(normalizers.Prepend(SPACE_MARK))
    steps.append(normalizers.Replace(" ", SPACE_MARK))
    backend.normalizer = normalizers.Sequence(steps)
    return backend


def add_special(backend: tokenizers.Tokenizer, texts: Iterable[str]) -> None:
    """Have these tokens recognised in a text before anything else."""
    backend.add_special_tokens([AddedToken(text, normalized=False) for text in texts if text])


def add_plain(
    backend: tokenizers.Tokenizer, texts: Iterable[str], *, after_normalizing: bool
) -> None:
    """Have these tokens recognised before anything is merged, the longest at each place."""
    backend.add_tokens([AddedToken(text, normalized=after_normalizing) for text in texts if text])


def _with_model(
    ids: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    ignore_merges: bool = False,
    unk_token: str | None = None,
    fuse_unk: bool = False,
    byte_fallback: bool = False,
) -> tokenizers.Tokenizer:
    try:
        model = models.BPE(
            vocab=dict(ids),
            merges=merges,
            ignore_merges=ignore_merges,
            unk_token=unk_token,
            fuse_unk=fuse_unk,
            byte_fallback=byte_fallback,
        )
    except Exception as error:  # the library raises no narrower type
        raise CheckpointError(
            f"the vocabulary and its merges do not fit together ({error}); "
            "the file is damaged, download it again"
        ) from error
    return tokenizers.Tokenizer(model)
