"""How each kind of byte-level vocabulary cuts text into words before it merges.

The only place in `ftllm.text` that knows tokenizers by name. A kind is what the GGUF key
`tokenizer.ggml.pre` says, or the class that a folder's tokenizer_config.json names. The patterns
are those that the models were trained with, as their own tokenizer.json files give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tokenizers import Regex, normalizers, pre_tokenizers

from ftllm.errors import UnsupportedModelError

BYTE_LEVEL_MODELS = frozenset({"gpt2"})  # values of tokenizer.ggml.model
SENTENCEPIECE_MODELS = frozenset({"llama", "gemma4"})
SPACE_PREFIX_MODELS = frozenset({"llama"})  # a space in front of a text unless the file says no
DEFAULT_KIND = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreTokenizerKind:
    """The words of a text: every pattern in turn cuts what the ones before it left."""

    patterns: tuple[str, ...]  # regular expressions in Oniguruma's syntax
    nfc: bool = False  # text is composed (Unicode NFC) first
    ignore_merges: bool = False  # a word that is a token becomes it whatever the merges say
    add_bos: bool = False  # when the file does not say whether it wants BOS

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """Cuts at the patterns, then spells bytes in the byte-level alphabet."""
        cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in self.patterns]
        spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([*cuts, spell])

    def normalizer(self) -> normalizers.Normalizer | None:
        return normalizers.NFC() if self.nfc else None


_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s+(?!\S)|\s+"
_LINES = r"\s*[\r\n]+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_GPT2 = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{_SPACES}"
_DIGIT = r"\p{N}"
_BY_ONE = rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_SYMBOLS}|{_LINES}|{_SPACES}"
_BY_THREE = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_SYMBOLS}|{_LINES}|{_SPACES}"
_MARKED = (  # letters with their combining marks
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_LINES}|{_SPACES}"
)
_UPPER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"
_LOWER = r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def _cased(tail: str, digits: str, symbols: str, *, without: str = "") -> str:
    """Words cut where a lower-case letter meets an upper-case one; `tail` may end a word."""
    start = r"[^\r\n\p{L}\p{N}]?"
    upper, lower = f"[{_UPPER}{without}]", f"[{_LOWER}{without}]"
    words = f"{start}{upper}*{lower}+{tail}|{start}{upper}+{lower}*{tail}"
    return f"{words}|{digits}|{symbols}|{_LINES}|{_SPACES}"


_SYMBOLS_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_O200K = _cased(f"{_CONTRACTION}?", r"\p{N}{1,3}", _SYMBOLS_SLASH)
_TEKKEN = _cased("", r"\p{N}", _SYMBOLS_SLASH)
_HAN_APART = r"[\p{Han}]+|" + _cased(
    f"{_CONTRACTION}?", r"\p{N}{1,3}", _SYMBOLS, without=r"&&[^\p{Han}]"
)
_DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_LINES}|{_SPACES}",
)
_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_DEEPSEEK_LETTERS = (  # cased letters, as the model's own file lists them
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5"
    "\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba"
    "\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45"
    "\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe"
    "\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
    "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134"
    "\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee"
    "\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df"
    "\U0001e900-\U0001e943"
)
_DEEPSEEK_LLM = (
    r"[\r\n]",
    rf"\s?[{_DEEPSEEK_LETTERS}]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    r"\s+$",
    _CJK,
    _DIGIT,
)
_BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"

_GPT2_WORDS = PreTokenizerKind(patterns=(_GPT2,))
_GPT2_NFC_WORDS = PreTokenizerKind(patterns=(_GPT2,), nfc=True)
_DIGITS_WORDS = PreTokenizerKind(patterns=(_DIGIT, _GPT2))
_BY_ONE_WORDS = PreTokenizerKind(patterns=(_BY_ONE,))
_BY_ONE_NFC_WORDS = PreTokenizerKind(patterns=(_BY_ONE,), nfc=True)
_BY_THREE_WORDS = PreTokenizerKind(patterns=(_BY_THREE,))
_BY_THREE_WHOLE_WORDS = PreTokenizerKind(patterns=(_BY_THREE,), ignore_merges=True)
_BY_THREE_BOS_WORDS = PreTokenizerKind(patterns=(_BY_THREE,), ignore_merges=True, add_bos=True)
_O200K_WORDS = PreTokenizerKind(patterns=(_O200K,))
_DEEPSEEK_V3_WORDS = PreTokenizerKind(patterns=_DEEPSEEK_V3)
_BAILING_WORDS = PreTokenizerKind(
    patterns=(
        rf"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{{L}}\p{{N}}]?+\p{{L}}+|\p{{N}}"
        rf"| ?[^\s\p{{L}}\p{{N}}]++[\r\n]*|\s*[\r\n]|{_SPACES}",
    )
)

GGUF_KINDS: Mapping[str, PreTokenizerKind] = MappingProxyType(
    {
        DEFAULT_KIND: _GPT2_WORDS,
        "gpt-2": _GPT2_WORDS,
        "phi-2": _GPT2_WORDS,
        "jais": _GPT2_WORDS,
        "trillion": _GPT2_WORDS,
        "granite-docling": _GPT2_WORDS,
        "mpt": _GPT2_NFC_WORDS,
        "olmo": _GPT2_NFC_WORDS,
        "smollm": _DIGITS_WORDS,
        "starcoder": _DIGITS_WORDS,
        "refact": _DIGITS_WORDS,
        "codeshell": _DIGITS_WORDS,
        "exaone": _DIGITS_WORDS,
        "minerva-7b": _DIGITS_WORDS,
        "mellum2": _DIGITS_WORDS,
        "command-r": PreTokenizerKind(patterns=(_DIGIT, _GPT2), nfc=True),
        "qwen2": _BY_ONE_NFC_WORDS,
        "deepseek-r1-qwen": _BY_ONE_NFC_WORDS,
        "megrez": _BY_ONE_NFC_WORDS,
        "stablelm2": _BY_ONE_NFC_WORDS,
        "hunyuan": _BY_ONE_WORDS,
        "grok-2": _BY_ONE_WORDS,
        "solar-open": _BY_ONE_WORDS,
        "qwen35": PreTokenizerKind(patterns=(_MARKED,), nfc=True),
        "llama-bpe": _BY_THREE_BOS_WORDS,
        "llama3": _BY_THREE_BOS_WORDS,
        "llama-v3": _BY_THREE_BOS_WORDS,
        "falcon3": _BY_THREE_BOS_WORDS,
        "falcon-h1": _BY_THREE_BOS_WORDS,
        "pixtral": _BY_THREE_BOS_WORDS,
        "midm-2.0": _BY_THREE_BOS_WORDS,
        "lfm2": _BY_THREE_BOS_WORDS,
        "dbrx": _BY_THREE_WORDS,
        "smaug-bpe": _BY_THREE_WORDS,
        "chatglm-bpe": _BY_THREE_WORDS,
        "glm4": _BY_THREE_WHOLE_WORDS,
        "glm5": _BY_THREE_WHOLE_WORDS,
        "gpt-4o": _O200K_WORDS,
        "llama4": _O200K_WORDS,
        "kanana2": _O200K_WORDS,
        "minimax-m2": _O200K_WORDS,
        "tekken": PreTokenizerKind(patterns=(_TEKKEN,), ignore_merges=True, add_bos=True),
        "kimi-k2": PreTokenizerKind(patterns=(_HAN_APART,)),
        "deepseek-llm": PreTokenizerKind(patterns=_DEEPSEEK_LLM),
        "deepseek-coder": PreTokenizerKind(
            patterns=(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, _DIGIT)
        ),
        "deepseek-v3": _DEEPSEEK_V3_WORDS,
        "hunyuan-dense": _DEEPSEEK_V3_WORDS,
        "joyai-llm": _DEEPSEEK_V3_WORDS,
        "falcon": PreTokenizerKind(patterns=(r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]")),
        "bailingmoe": _BAILING_WORDS,
        "bailingmoe2": _BAILING_WORDS,
        "llada-moe": _BAILING_WORDS,
        "seed-coder": PreTokenizerKind(
            patterns=(
                rf"{_CONTRACTION}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_LINES}|{_SPACES}",
            )
        ),
        "bloom": PreTokenizerKind(patterns=(_BLOOM,)),
        "poro-chat": PreTokenizerKind(patterns=(_BLOOM,)),
        "gpt3-finnish": PreTokenizerKind(patterns=(_BLOOM,)),
        "viking": PreTokenizerKind(patterns=(_BLOOM, _DIGIT)),
    }
)


def gguf_kind(name: str) -> PreTokenizerKind:
    """The kind that `tokenizer.ggml.pre` names. Raises `UnsupportedModelError`."""
    kind = GGUF_KINDS.get(name)
    if kind is None:
        raise UnsupportedModelError(
            f"tokenizer.ggml.pre is {name!r}, a pre-tokenizer that is not supported; supported: "
            f"{', '.join(sorted(GGUF_KINDS))}"
        )
    return kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RankKind:
    """What a file of tiktoken ranks leaves to the code that reads it."""

    words: PreTokenizerKind
    special_texts: tuple[str, ...] = ()  # with the ids after the ranks, if no file names them


def _whole(*patterns: str, nfc: bool = False) -> PreTokenizerKind:
    """tiktoken looks a word up before it merges."""
    return PreTokenizerKind(patterns=patterns, nfc=nfc, ignore_merges=True)


RANK_KINDS: Mapping[str, RankKind] = MappingProxyType(
    {
        "QWenTokenizer": RankKind(
            words=_whole(_BY_ONE, nfc=True),
            special_texts=(
                "<|endoftext|>",
                "<|im_start|>",
                "<|im_end|>",
                *(f"<|extra_{number}|>" for number in range(205)),
            ),
        ),
        "TikTokenTokenizer": RankKind(words=_whole(_HAN_APART)),
    }
)


def rank_kind(tokenizer_class: str, path: Path) -> RankKind:
    """The kind that `tokenizer_class` of tokenizer_config.json names."""
    kind = RANK_KINDS.get(tokenizer_class)
    if kind is None:
        raise UnsupportedModelError(
            f"{path} holds tiktoken ranks for the tokenizer class {tokenizer_class!r}, whose "
            f"pattern is not known; supported: {', '.join(sorted(RANK_KINDS))}"
        )
    return kind
