"""Text to token ids and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import tokenizers

from ftllm.errors import RequestError
from ftllm.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialTokens:
    """The ids with a role, and what `encode` puts around a text."""

    bos_token_id: int | None = None
    eos_token_id: int | None = None  # the one that templates call eos_token
    eos_token_ids: frozenset[int] = frozenset()  # every id that ends a turn or a text
    special_ids: frozenset[int] = frozenset()  # left out by decode(skip_special_tokens=True)
    prefix_ids: tuple[int, ...] = ()  # before a text, usually BOS or nothing
    suffix_ids: tuple[int, ...] = ()
    between_ids: tuple[int, ...] = ()  # between the two texts of a pair


class Tokenizer:
    """Text to token ids and back. Immutable, safe to use from any thread.

    Decoding is by bytes: the bytes of all tokens are joined and read as UTF-8, and what is not
    UTF-8 becomes U+FFFD. `drops_first_space` is SentencePiece's rule that a text gets a space in
    front before it is encoded, so that the first space of a decoded text is not part of it.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        vocabulary: Vocabulary,
        special: SpecialTokens,
        *,
        drops_first_space: bool = False,
        chat_template: str | None = None,
    ) -> None:
        self._backend = backend
        self._vocabulary = vocabulary
        self.whole_text = vocabulary.whole_text  # itself, as it is called for every token
        self._special = special
        self._drops_first_space = drops_first_space
        self._chat_template = chat_template

    @property
    def vocab_size(self) -> int:
        """1 + the highest id."""
        return self._vocabulary.size

    @property
    def bos_token_id(self) -> int | None:
        return self._special.bos_token_id

    @property
    def bos_token(self) -> str | None:
        return self._text_of(self._special.bos_token_id)

    @property
    def eos_token(self) -> str | None:
        return self._text_of(self._special.eos_token_id)

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Every id that ends a turn or a text."""
        return self._special.eos_token_ids

    @property
    def special_ids(self) -> frozenset[int]:
        return self._special.special_ids

    @property
    def chat_template(self) -> str | None:
        """The Jinja source found with the tokenizer."""
        return self._chat_template

    @property
    def drops_first_space(self) -> bool:
        return self._drops_first_space

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`. Special tokens spelled in it are recognised.

        `add_special_tokens` adds what the model wants around a text (BOS …); a rendered chat
        template usually spells these itself, so encode it without. Raises `RequestError` for
        text that is not Unicode (unpaired surrogates).
        """
        try:
            # The batch call works without the GIL: a megabyte takes a second. The fast one keeps
            # no offsets, whose release would hold the GIL for long.
            batch = self._backend.encode_batch_fast([text], add_special_tokens=False)
            ids: list[int] = batch[0].ids
        except (TypeError, UnicodeEncodeError) as error:
            raise RequestError(
                f"the text cannot be encoded as UTF-8 ({_fault(text)}); send valid Unicode",
                code="invalid_unicode",
            ) from error
        return self.surround(ids) if add_special_tokens else ids

    def surround(self, ids: Sequence[int]) -> list[int]:
        """`ids` with what the model wants around a text (BOS …)."""
        return [*self._special.prefix_ids, *ids, *self._special.suffix_ids]

    def encode_first(self, text: str, count: int) -> list[int]:
        """At most `count` ids: those of the text's beginning, with what the model wants around it.
        Raises `RequestError` when there is no room for a token of the text."""
        special = self._special
        around = len(special.prefix_ids) + len(special.suffix_ids)
        ids = self.encode(text, add_special_tokens=False)
        return [*special.prefix_ids, *_beginning(ids, count - around), *special.suffix_ids]

    def encode_pair(self, first: str, second: str, count: int | None = None) -> list[int]:
        """Token ids of two texts as one sequence, with what the model wants around and between. Of
        more than `count` the end of the second text is left out."""
        special = self._special
        ids = [
            *special.prefix_ids,
            *self.encode(first, add_special_tokens=False),
            *special.between_ids,
        ]
        others = self.encode(second, add_special_tokens=False)
        if count is not None:
            others = _beginning(others, count - len(ids) - len(special.suffix_ids))
        return [*ids, *others, *special.suffix_ids]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of `ids`; ids without a token stand for nothing."""
        data = b"".join(self.visible_bytes(ids, skip_special_tokens=skip_special_tokens))
        if self._drops_first_space:
            data = data.removeprefix(b" ")
        return data.decode("utf-8", "replace")

    def visible_bytes(self, ids: Iterable[int], *, skip_special_tokens: bool) -> Iterator[bytes]:
        """The bytes of each token in turn, without the special ones if those are skipped."""
        hidden = self._special.special_ids if skip_special_tokens else frozenset()
        token_bytes = self._vocabulary.token_bytes
        return (token_bytes(token_id) for token_id in ids if token_id not in hidden)

    def token_id(self, piece: str) -> int | None:
        """The id of a piece as the vocabulary spells it; None when it has no such piece."""
        found: int | None = self._backend.token_to_id(piece)
        return found

    def token_text(self, token_id: int) -> str:
        """One token printed by itself, with its leading space; U+FFFD for a part of a character."""
        return self._vocabulary.token_bytes(token_id).decode("utf-8", "replace")

    def token_piece(self, token_id: int) -> str | None:
        """One token as the vocabulary spells it; None for an id without a token."""
        return self._vocabulary.piece(token_id)

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes of one token."""
        return self._vocabulary.token_bytes(token_id)

    def _text_of(self, token_id: int | None) -> str | None:
        return None if token_id is None else self.token_text(token_id)


def _beginning(ids: list[int], room: int) -> list[int]:
    if room < 1:
        raise RequestError(
            "The text is to be cut to so few tokens that none of it is left; allow more.",
            param="truncate_prompt_tokens",
        )
    return ids[:room]


def _fault(text: str) -> str:
    for place, character in enumerate(text):
        if "\ud800" <= character <= "\udfff":
            return f"character {place} is the unpaired surrogate U+{ord(character):04X}"
    return f"got {type(text).__name__}"
