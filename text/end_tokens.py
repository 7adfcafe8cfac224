"""Tokens that end a turn or a text, known by their spelling."""

from __future__ import annotations

from collections.abc import Callable

END_TOKEN_TEXTS = frozenset(
    {
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<turn|>",
        "<end_of_utterance>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "[EOS]",
        "[e~[",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    }
)
"""No plain mark-up such as </s>, which some vocabularies hold as an HTML tag."""

_MESSAGE_END = "<|end|>"
_CHANNEL = "<|channel|>"  # with channels, <|end|> only ends a message, and the turn goes on


def end_token_ids(id_of: Callable[[str], int | None]) -> frozenset[int]:
    """Ids of the tokens of a vocabulary that end a turn or a text, by their spelling."""
    texts = END_TOKEN_TEXTS
    if id_of(_CHANNEL) is not None:
        texts = texts - {_MESSAGE_END}
    return frozenset(found for text in texts if (found := id_of(text)) is not None)
