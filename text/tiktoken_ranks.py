"""Builds a tokenizer from a file of tiktoken ranks: one line a token, base64 and its rank."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from ftllm.errors import CheckpointError
from ftllm.text.bpe_backend import add_special, byte_level_backend
from ftllm.text.end_tokens import end_token_ids
from ftllm.text.merges import derive_merges
from ftllm.text.model_folder import ModelFolder
from ftllm.text.pretokenizers import rank_kind
from ftllm.text.tokenizer import SpecialTokens, Tokenizer
from ftllm.text.vocabulary import Spelling, Vocabulary, byte_alphabet

RANK_FILES = ("*.tiktoken", "tiktoken.model")


def find_ranks(folder: Path) -> Path | None:
    """The file of ranks in `folder`, None if there is none."""
    return next((path for pattern in RANK_FILES for path in sorted(folder.glob(pattern))), None)


def tokenizer_from_ranks(path: Path, files: ModelFolder) -> Tokenizer:
    """The tokenizer of a rank file; the folder's tokenizer_config.json names its class and the
    tokens added to it. Raises `CheckpointError` and `UnsupportedModelError`."""
    kind = rank_kind(str(files.tokenizer_config.get("tokenizer_class")), path)
    ids = _read_ranks(path)
    by_rank = sorted(ids, key=ids.__getitem__)
    special = {
        str(entry["content"]): token_id
        for token_id, entry in files.added_tokens().items()
        if isinstance(entry.get("content"), str)
    } or {text: len(ids) + place for place, text in enumerate(kind.special_texts)}
    taken = sorted(set(ids.values()) & set(special.values()))
    if taken:
        raise CheckpointError(
            f"{path} and tokenizer_config.json both define the token id {taken[0]}; "
            "download the tokenizer files again"
        )
    merges = derive_merges(by_rank)
    ids.update(special)
    backend = byte_level_backend(ids, merges, kind.words)
    add_special(backend, special)
    pieces: list[str | None] = [None] * (1 + max(ids.values()))
    for piece, token_id in ids.items():
        pieces[token_id] = piece
    bos_text, eos_text = files.token_text("bos_token"), files.token_text("eos_token")
    bos = None if bos_text is None else ids.get(bos_text)
    eos = None if eos_text is None else ids.get(eos_text)
    ends = files.eos_ids() or end_token_ids(ids.get)
    return Tokenizer(
        backend,
        Vocabulary(pieces, spelling=Spelling.BYTE_LEVEL, literal_ids=special.values()),
        SpecialTokens(
            bos_token_id=bos,
            eos_token_id=eos,
            eos_token_ids=ends if eos is None else ends | {eos},
            special_ids=frozenset(special.values()),
            prefix_ids=(bos,) if bos is not None and files.flag("add_bos_token") else (),
        ),
        chat_template=files.chat_template(),
    )


def _read_ranks(path: Path) -> dict[str, int]:
    """Token in the byte-level alphabet -> its id, which is its rank."""
    alphabet = byte_alphabet()
    ids: dict[str, int] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            token, rank = line.split()
            piece = "".join(alphabet[byte] for byte in base64.b64decode(token, validate=True))
            ids[piece] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise CheckpointError(
                f"{path}, line {number}: {line[:40]!r} is not a base64 token and its rank; "
                "download the file again"
            ) from error
    if not ids:
        raise CheckpointError(f"{path} is empty; download the file again")
    return ids
