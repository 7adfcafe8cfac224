"""Prompts that ask for the text between a prefix and a suffix, by the markers of a vocabulary.

Bavarian et al. 2022, arXiv:2207.14255. Code models write the prefix, then the suffix, then the
middle; some write the suffix first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftllm.text.tokenizer import Tokenizer

_OUTSIDE = "\u263a"  # stands before a text so that the tokenizer adds its first space to this


@dataclass(frozen=True, slots=True)
class _Spelling:
    """Markers as a vocabulary spells them; `middle` None: the prefix comes last, and its marker
    is what the middle follows."""

    prefix: str
    suffix: str
    middle: str | None
    others: tuple[str, ...] = ()  # further tokens that only stand outside of a middle


_SPELLINGS = (
    _Spelling(
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        ("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>"),
    ),
    _Spelling(
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
        ("<fim_pad>", "<file_sep>", "<reponame>", "<repo_name>"),
    ),
    _Spelling("<fim-prefix>", "<fim-suffix>", "<fim-middle>", ("<fim-pad>",)),
    _Spelling(
        "<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"
    ),
    _Spelling("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>", ("\u2581<EOT>",)),
    _Spelling("<PRE>", "<SUF>", "<MID>", ("<EOT>",)),
    _Spelling("[PREFIX]", "[SUFFIX]", None),
)


@dataclass(frozen=True, slots=True)
class FillInMiddle:
    """A vocabulary's markers as token ids."""

    prefix_id: int
    suffix_id: int
    middle_id: int | None
    stop_token_ids: frozenset[int]  # no middle holds one, so they end it

    def prompt(self, tokenizer: Tokenizer, prefix: Sequence[int], suffix: str) -> list[int]:
        """Token ids of a prompt whose continuation is what stands between the two texts."""
        after = _encode_inside(tokenizer, suffix)
        if self.middle_id is None:
            return [self.suffix_id, *after, self.prefix_id, *prefix]
        return [self.prefix_id, *prefix, self.suffix_id, *after, self.middle_id]


def find_fill_in_middle(tokenizer: Tokenizer) -> FillInMiddle | None:
    """The markers that the vocabulary of `tokenizer` has; None if it has none."""
    for spelling in _SPELLINGS:
        prefix = tokenizer.token_id(spelling.prefix)
        suffix = tokenizer.token_id(spelling.suffix)
        middle = None if spelling.middle is None else tokenizer.token_id(spelling.middle)
        if prefix is None or suffix is None or (middle is None) != (spelling.middle is None):
            continue
        markers = [prefix, suffix, middle, *map(tokenizer.token_id, spelling.others)]
        stops = frozenset(marker for marker in markers if marker is not None)
        return FillInMiddle(prefix, suffix, middle, stops)
    return None


def _encode_inside(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a text that does not begin where a text begins: no space is added to it."""
    if not tokenizer.drops_first_space:
        return tokenizer.encode(text, add_special_tokens=False)
    before = tokenizer.encode(_OUTSIDE, add_special_tokens=False)
    whole = tokenizer.encode(_OUTSIDE + text, add_special_tokens=False)
    if whole[: len(before)] != before:  # the vocabulary has a token across the border
        return tokenizer.encode(text, add_special_tokens=False)
    return whole[len(before) :]
