"""Words that an answer must not hold, as the token sequences that spell them."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm.errors import RequestError
from ftllm.text.tokenizer import Tokenizer


def bad_word_ids(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Each word as it is spelled at the start of a text and after a space (vLLM's rule).

    A word that the model spells with other tokens is not found: they are sequences, not texts.
    Raises `RequestError` for a word without a visible character.
    """
    sequences: dict[tuple[int, ...], None] = {}
    for word in words:
        bare = word.lstrip()
        if not bare:
            raise RequestError(
                "bad_words holds a word that is empty or blank; each needs a visible character.",
                param="bad_words",
            )
        for text in (bare, f" {bare}"):
            ids = tuple(tokenizer.encode(text, add_special_tokens=False))
            if ids:
                sequences[ids] = None
    return tuple(sequences)
