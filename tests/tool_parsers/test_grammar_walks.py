"""What a grammar of calls lets through parses as calls whose arguments fit the schema, always.

Answers are drawn by walking at random over what llguidance allows, with a taste for texts that a
parser could trip over: beginnings of markers, values that look like those of another type.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from ftllm.errors import RequestError
from ftllm.tool_parsers import REASONING_DIALECTS, TOOL_DIALECTS, ToolCall, parse_output

STRING = {"type": "string"}
SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "strings": {
        "properties": {"a": STRING, "b": {"type": "string", "minLength": 2, "maxLength": 5}},
        "required": ["b"],
    },
    "patterns": {
        "properties": {
            "a": {"type": "string", "pattern": "^[a-c]{2,3}$"},
            "b": {"type": "string", "pattern": "x/y"},
            "c": {"type": "string", "pattern": "^(?:ab|cd)$|^e"},
            "d": {"type": "string", "format": "date"},
        },
        "required": ["a", "b", "c", "d"],
    },
    "numbers": {
        "properties": {
            "i": {"type": "integer", "minimum": -3, "maximum": 12},
            "n": {"type": "number", "minimum": 0, "maximum": 2},
            "t": {"type": "boolean"},
            "z": {"type": "null"},
        },
        "required": ["i", "n", "t", "z"],
    },
    "enums": {
        "properties": {
            "e": {"type": "string", "enum": ["red", "true", "12", "null", "a b"]},
            "m": {"enum": ["two", 2, None, False, 1.5]},
            "c": {"const": "only"},
        },
        "required": ["e", "m", "c"],
    },
    "unions": {
        "properties": {
            "o": {"anyOf": [{"type": "string", "maxLength": 4}, {"type": "null"}]},
            "i": {"anyOf": [{"type": "integer", "maximum": 9}, {"type": "string"}]},
            "t": {"type": ["string", "boolean"]},
            "l": {"anyOf": [{"type": "array", "items": STRING, "maxItems": 2}, STRING]},
        },
        "required": ["o", "i", "t", "l"],
    },
    "nested": {
        "properties": {
            "p": {"$ref": "#/$defs/Point"},
            "l": {"type": "array", "items": {"$ref": "#/$defs/Point"}, "maxItems": 2},
            "w": {"type": "array", "items": STRING, "minItems": 1, "maxItems": 3},
        },
        "required": ["p", "l", "w"],
        "$defs": {
            "Point": {
                "type": "object",
                "properties": {"x": {"type": "integer"}, "label": STRING},
                "required": ["x"],
                "additionalProperties": False,
            }
        },
    },
    "recursive": {
        "properties": {"tree": {"$ref": "#/$defs/Node"}},
        "required": ["tree"],
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "v": {"type": "boolean"},
                    "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                },
                "required": ["v", "next"],
                "additionalProperties": False,
            }
        },
    },
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": f"do_{name}", "parameters": {"type": "object", **schema}},
    }
    for name, schema in SCHEMAS.items()
]
PARAMETERS: dict[str, dict[str, Any]] = {
    each["function"]["name"]: each["function"]["parameters"] for each in TOOLS
}
# Tried as a whole wherever the walk stands. The closing ones come again and again towards the end.
TEMPTING = ["null", "None", "true", "7", "-1.5e3", "{}", "[]", "\n", "\n\n", " ", "é", "東", "🙂"]
TEMPTING += ["<", "</", "<|", "\\", "\\n", "'", '"', "&lt;", "{'a': 1}", '["a"]', "},", "x/y", "ab"]
CLOSING = [
    '"',
    "}",
    "]",
    ")",
    "'",
    "e",
    "ab",
    "aa",
    "x/y",
    "2026-01-01",
    "0",
    "1",
    "null",
    "true",
    ", ",
]
QUOTES = '""'
FREE_STEPS = 60
MOST_STEPS = 20_000

every_dialect = pytest.mark.parametrize("dialect", sorted(TOOL_DIALECTS))


def _vocabulary(special: list[str]) -> tuple[Tokenizer, LLTokenizer]:
    """Bytes, and the texts `special` as special tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = models.BPE(vocab={letter: at for at, letter in enumerate(letters)}, merges=[])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in ["<eos>", *special]])
    eos = tokenizer.token_to_id("<eos>")
    return tokenizer, LLTokenizer(tokenizer.to_str(), eos_token=eos)


def _with_tokens(grammar: str, tokenizer: Tokenizer, special: list[str]) -> str:
    """The literals of rules with special tokens in them, as whoever compiles grammars does it."""
    tokens = re.compile("|".join(map(re.escape, special)) or r"\b\B")

    def put_tokens(match: re.Match[str]) -> str:
        text, place, parts = json.loads(match[0]), 0, []
        for token in tokens.finditer(text):
            parts.append(json.dumps(text[place : token.start()], ensure_ascii=False))
            parts.append(f"<[{tokenizer.token_to_id(token[0])}]>")
            place = token.end()
        parts.append(json.dumps(text[place:], ensure_ascii=False))
        return f"({' '.join(part for part in parts if part != QUOTES)})"

    literal = re.compile(r'"(?:[^"\\]|\\.)+"(?!\])')  # no option of a rule
    lines = [
        line if line[:1].isupper() or "%json" in line else literal.sub(put_tokens, line)
        for line in grammar.splitlines()
    ]
    return "\n".join(lines)


class _Walk:
    def __init__(self, grammar: str, special: list[str], seed: int) -> None:
        self.tokenizer, vocabulary = _vocabulary(special)
        self.grammar = grammar
        source = _with_tokens(grammar, self.tokenizer, special)
        self.matcher = LLMatcher(vocabulary, LLMatcher.grammar_from_lark(source))
        assert not self.matcher.get_error(), self.matcher.get_error()
        self.random = random.Random(seed)
        self.ids: list[int] = []

    def text(self, ends: int = 1) -> str:
        """An answer that the grammar takes as complete, and before that `ends` - 1 times."""
        closing = self._closing()
        endings = [text for text in closing if "</" in text or "_end" in text] or closing
        was_complete = False
        for step in range(MOST_STEPS):
            is_complete = self.matcher.is_accepting()
            ends -= is_complete and not was_complete
            was_complete = is_complete
            if is_complete and ends <= 0:
                break
            late = step > FREE_STEPS
            if self.random.random() < (0.8 if late else 0.4):
                texts = self.random.choice([closing, endings]) if late else TEMPTING + closing
                self._attempt(self.random.choice(texts))
            elif not self._letter():
                break
        assert self.matcher.is_accepting(), self._decoded()
        return self._decoded()

    def _closing(self) -> list[str]:
        """Texts that end values: those of JSON, and the literals of the grammar."""
        rules = re.sub(r"(?m)^[A-Z].*", "", self.grammar)
        literals = re.findall(r'"((?:[^"\\]|\\.)+)"', rules)
        markers = [text for each in literals if "<" in (text := json.loads(f'"{each}"'))]
        return CLOSING + [f"\n{text.strip()}" for text in markers] + markers

    def _attempt(self, text: str) -> None:
        ids = self.tokenizer.encode(text).ids
        taken = self.matcher.try_consume_tokens(ids)
        if taken < len(ids):
            self.matcher.rollback(taken)
        else:
            self.ids += ids

    def _letter(self) -> bool:
        mask = self.matcher.compute_bitmask()
        allowed = [
            at * 8 + bit for at, byte in enumerate(mask) for bit in range(8) if byte >> bit & 1
        ]
        allowed = [each for each in allowed if each < self.tokenizer.get_vocab_size()]
        eos = self.tokenizer.token_to_id("<eos>")
        allowed = [each for each in allowed if each != eos]
        if not allowed:
            return False
        self.ids.append(self.random.choice(allowed))
        assert self.matcher.consume_token(self.ids[-1])
        return True

    def _decoded(self) -> str:
        return self.tokenizer.decode(self.ids, skip_special_tokens=False)


def _calls(text: str, dialect: str) -> tuple[ToolCall, ...]:
    reasoning = dialect if dialect in REASONING_DIALECTS else None
    output = parse_output(text, tools=TOOLS, tool_dialect=dialect, reasoning_dialect=reasoning)
    assert output.content is None, text
    assert output.tool_calls, text
    for call in output.tool_calls:
        root = PARAMETERS[call.name]
        assert _fits(json.loads(call.arguments), root, root), (call, text)
    return output.tool_calls


@every_dialect
@pytest.mark.parametrize("vocabulary", ["bytes", "special tokens"])
@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_sampled_calls_fit(dialect: str, vocabulary: str, name: str) -> None:
    known = TOOL_DIALECTS[dialect]
    tools = [each for each in TOOLS if each["function"]["name"] == f"do_{name}"]
    special = _markers(dialect) if vocabulary == "special tokens" else []
    grammar = known.grammar(tools, parallel=False, special=special)
    for seed in range(4):
        walk = _Walk(grammar, special, seed)
        assert len(_calls(walk.text(), dialect)) == 1


@every_dialect
def test_parallel_calls_fit(dialect: str) -> None:
    known = TOOL_DIALECTS[dialect]
    grammar = known.grammar(TOOLS[:3], parallel=True)
    counts = (len(_calls(_Walk(grammar, [], seed).text(ends=2), dialect)) for seed in range(30))
    assert any(count > 1 for count in counts)


@every_dialect
def test_behind_the_trigger(dialect: str) -> None:
    """The grammar of what follows a marker that has been written."""
    known = TOOL_DIALECTS[dialect]
    grammar = known.grammar_behind_trigger(TOOLS[:3], parallel=False)
    if grammar is None:
        assert not known.openings or known.trigger is None
        return
    _calls((known.trigger or "") + _Walk(grammar, [], 0).text(), dialect)


@every_dialect
@pytest.mark.parametrize("word", ["anyOf", "not", "minProperties"])
def test_what_cannot_be_guaranteed_is_refused(dialect: str, word: str) -> None:
    known = TOOL_DIALECTS[dialect]
    value: object = 1 if word == "minProperties" else [{"required": ["a"]}]
    value = {"required": ["a"]} if word == "not" else value
    parameters = {"type": "object", "properties": {"a": STRING}, word: value}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    try:
        grammar = known.grammar(tools, parallel=False)
    except RequestError as error:
        refused = error.param == "tools"
    else:  # in JSON the whole schema goes to llguidance, which takes it or says why not
        refused = json.dumps(word) in grammar
    assert refused


def _markers(dialect: str) -> list[str]:
    """Texts of a dialect that vocabularies hold as tokens."""
    known = TOOL_DIALECTS[dialect]
    grammar = known.grammar(TOOLS, parallel=True)
    rules = "\n".join(line for line in grammar.splitlines() if "%json" not in line)
    found = re.findall(r'<[|/]?[^<>\s"=]*(?:\\"[^<>\s"=]*)?>', rules)
    found += re.findall(r"\[/?[A-Z_]+\]", rules)
    return sorted({text.replace('\\"', '"') for text in found} - {"<[", "<function=>"})


def _fits(value: object, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    """Whether JSON Schema allows `value`, by the keywords that SCHEMAS use."""
    if "$ref" in schema:
        return _fits(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    if "anyOf" in schema:
        return any(_fits(value, each, root) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        listed = schema.get("enum", [schema.get("const")])
        return json.dumps(value) in [json.dumps(each) for each in listed]
    types = schema.get("type", [])
    if not any(_is(value, name) for name in ([types] if isinstance(types, str) else types)):
        return False
    if isinstance(value, str):
        return (
            schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
            and re.search(schema.get("pattern", ""), value) is not None
            and (
                schema.get("format") != "date"
                or re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None
            )
        )
    if isinstance(value, list):
        items = schema.get("items", {})
        size = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return size and all(_fits(each, items, root) for each in value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return set(schema.get("required", [])) <= set(value) and all(
            _fits(each, known[key], root) if key in known else "additionalProperties" not in schema
            for key, each in value.items()
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    return True


def _is(value: object, name: str) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "array": (list,),
        "object": (dict,),
        "null": (type(None),),
    }
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, kinds[name])
