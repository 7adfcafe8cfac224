from __future__ import annotations

from tokenizers.pre_tokenizers import ByteLevel

from ftllm.text.vocabulary import Spelling, Vocabulary, byte_alphabet


def test_byte_alphabet_is_the_one_of_byte_level_tokenizers() -> None:
    alphabet = byte_alphabet()
    assert sorted(alphabet) == list(range(256))
    assert set(alphabet.values()) == set(ByteLevel.alphabet())
    spelled = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("a \n\u00e9")
    assert "".join(part for part, _ in spelled) == "".join(
        alphabet[byte] for byte in "a \n\u00e9".encode()
    )


def test_byte_level_pieces() -> None:
    pieces = ["\u0120hi", "\u00e4\u00bd", None, "<|end|>", "a b", "\u00e9"]
    vocabulary = Vocabulary(pieces, spelling=Spelling.BYTE_LEVEL, literal_ids={3, 5})
    assert vocabulary.size == 6
    assert vocabulary.token_bytes(0) == b" hi"
    assert vocabulary.token_bytes(1) == b"\xe4\xbd"
    assert vocabulary.token_bytes(2) == b""
    assert vocabulary.token_bytes(3) == b"<|end|>"
    assert vocabulary.token_bytes(4) == b"a b"  # not in the alphabet, so it is text
    assert vocabulary.token_bytes(5) == "\u00e9".encode()


def test_sentencepiece_pieces() -> None:
    pieces = ["\u2581hi\u2581", "<0x0A>", "<0xe4>", "<0x0A", "\u2581mark"]
    vocabulary = Vocabulary(pieces, spelling=Spelling.SENTENCEPIECE, literal_ids={4})
    found = [vocabulary.token_bytes(token_id) for token_id in range(5)]
    assert found == [b" hi ", b"\n", b"\xe4", b"<0x0A", "\u2581mark".encode()]


def test_ids_without_a_token_are_empty() -> None:
    vocabulary = Vocabulary(["a"], spelling=Spelling.BYTE_LEVEL, literal_ids=())
    assert vocabulary.token_bytes(1) == b""
    assert vocabulary.token_bytes(-1) == b""
    assert vocabulary.piece(-1) is None
