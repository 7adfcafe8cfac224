"""A model made of a scripted engine and a tokenizer whose tokens are mostly single bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from ftllm.engine.pooling import PoolingMethod
from ftllm.engine.request import Request
from ftllm.model_facts import ModelFacts
from ftllm.pooling_profile import PoolingProfile
from ftllm.text.chat_template import ChatTemplate
from ftllm.text.grammar_compiler import GrammarCompiler
from ftllm.text.tokenizer import SpecialTokens, Tokenizer
from ftllm.text.vocabulary import Spelling, Vocabulary, byte_alphabet

from .fake_engine import EMBEDDING_SIZE, FakeEngine

BOS, EOS = 256, 257
BETWEEN = (EOS, BOS)  # the texts of a pair
HELLO, WORLD = 258, 259  # longer than a byte: "Hello" and " world"; only ever generated
FIRST_MARKER = 260
MAX_MODEL_LEN = 500
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}{{ tail }}"
)


def byte_tokenizer(*markers: str) -> Tokenizer:
    """Ids 0 to 255 are bytes. `encode` puts BOS in front; special tokens may be spelled.
    `markers` are further special tokens, with the ids from FIRST_MARKER on."""
    alphabet = byte_alphabet()
    specials = ["<bos>", "<eos>"]
    further = ["<hello>", "<world>", *markers] if markers else []
    backend = tokenizers.Tokenizer(
        BPE(vocab={character: byte for byte, character in alphabet.items()}, merges=[])
    )
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    backend.add_special_tokens([*specials, *further])
    pieces = [alphabet[byte] for byte in range(256)]
    vocabulary = Vocabulary(
        [*pieces, *specials, "Hello", "Ġworld", *markers],
        spelling=Spelling.BYTE_LEVEL,
        literal_ids={BOS, EOS, *range(FIRST_MARKER, FIRST_MARKER + len(markers))},
    )
    special = SpecialTokens(
        bos_token_id=BOS,
        eos_token_id=EOS,
        eos_token_ids=frozenset({EOS}),
        special_ids=frozenset({BOS, EOS}),
        prefix_ids=(BOS,),
        between_ids=BETWEEN,
    )
    return Tokenizer(backend, vocabulary, special)


def says(text: str) -> list[int]:
    """A script: the text's bytes, then EOS."""
    return [*text.encode(), EOS]


def default_script(_: Request) -> list[int]:
    return [HELLO, WORLD, *says("!")]


@dataclass(frozen=True, slots=True)
class FakeDefaults:
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None


FACTS = ModelFacts(
    isa="scripted",
    threads=3,
    weight_formats=("int8", "float32"),
    kv_dtype="float16",
    kv_block_size=32,
    prefix_caching=True,
    startup_seconds={"fetch": 0.5, "weights": 2.0},
)


@dataclass(frozen=True, slots=True)
class FakeModel:
    engine: FakeEngine
    name: str = "tiny/model"
    tokenizer: Tokenizer = field(default_factory=byte_tokenizer)
    chat_template: ChatTemplate | None = field(
        default_factory=lambda: ChatTemplate(TEMPLATE, bos_token="<bos>", eos_token="<eos>")
    )
    max_model_len: int = MAX_MODEL_LEN
    defaults: FakeDefaults = FakeDefaults()
    eos_token_ids: frozenset[int] = frozenset({EOS})
    pooling: PoolingProfile = field(
        default_factory=lambda: PoolingProfile(
            method=PoolingMethod.LAST, normalize=True, size=EMBEDDING_SIZE
        )
    )
    summary: tuple[str, ...] = ("model    tiny/model: scripted",)
    model_type: str = "tiny"
    facts: ModelFacts = FACTS
    grammars: GrammarCompiler = field(init=False)

    def __post_init__(self) -> None:
        grammars = GrammarCompiler(
            self.tokenizer,
            vocab_size=self.tokenizer.vocab_size,
            eos_token_ids=self.eos_token_ids,
        )
        object.__setattr__(self, "grammars", grammars)  # the class is frozen
