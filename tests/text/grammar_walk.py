"""Walks through grammars, looking at the mask before each token."""

from __future__ import annotations

from dataclasses import dataclass

from ftllm.text.grammar import Grammar
from ftllm.text.grammar_compiler import GrammarCompiler
from ftllm.text.grammar_matcher import GrammarMatcher
from ftllm.text.tokenizer import Tokenizer
from tests.text.mask_rows import MaskArray

PADDING = 3  # ids that the model has and the tokenizer has not


@dataclass(frozen=True)
class Request:
    """The engine's MaskRequest."""

    matcher: GrammarMatcher
    row: int
    drafts: tuple[int, ...] = ()


class Walker:
    """One vocabulary's compiler."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.vocab_size = tokenizer.vocab_size + PADDING
        self.compiler = GrammarCompiler(
            tokenizer, vocab_size=self.vocab_size, eos_token_ids=tokenizer.eos_token_ids
        )
        self._id_of_byte = {
            data[0]: token_id
            for token_id in range(tokenizer.vocab_size)
            if token_id not in tokenizer.special_ids
            and len(data := tokenizer.token_bytes(token_id)) == 1
        }

    def letters(self, text: str) -> list[int]:
        """A token a byte."""
        return [self._id_of_byte[byte] for byte in text.encode()]

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def begin(self, grammar: Grammar) -> GrammarMatcher:
        return self.compiler.compile(grammar).matcher()

    def allowed(self, matcher: GrammarMatcher) -> set[int]:
        """The next token's mask."""
        masks = MaskArray(1, self.vocab_size)
        self.compiler.fill([Request(matcher, 0)], masks)
        return masks.allowed(0)

    def goes_on(self, matcher: GrammarMatcher, text: str) -> bool:
        """Whether the mask has the token `text`."""
        (token_id,) = self.ids(text)
        return token_id in self.allowed(matcher)

    def follow(self, grammar: Grammar, ids: list[int]) -> GrammarMatcher:
        """A matcher that has accepted `ids`, each of which its mask allowed."""
        matcher = self.begin(grammar)
        self.accept(matcher, ids)
        return matcher

    def accept(self, matcher: GrammarMatcher, ids: list[int]) -> None:
        for token_id in ids:
            assert not matcher.error
            assert not matcher.finished
            assert matcher.count_allowed([token_id]) == 1
            assert token_id in self.allowed(matcher), f"{token_id} of {ids}"
            matcher.accept(token_id)
