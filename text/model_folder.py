"""The JSON and template files around a tokenizer in a Hugging Face style folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ftllm.errors import CheckpointError
from ftllm.text.named_templates import join_templates


class ModelFolder:
    """Reads the small files of a model folder; a missing one is empty."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.tokenizer_config = self._object("tokenizer_config.json")
        self._token_names = {
            **self._object("special_tokens_map.json"),
            **self.tokenizer_config,  # wins where both name a token
        }

    def token_text(self, role: str) -> str | None:
        """The spelling of `role` ("bos_token", "eos_token", …), None if there is no such token."""
        return _spelling(self._token_names.get(role))

    def special_texts(self) -> list[str]:
        """Every token that the configuration calls special, by whatever name."""
        roles = ("bos", "eos", "unk", "pad", "sep", "cls", "mask")
        found = [self.token_text(f"{role}_token") for role in roles]
        for list_name in ("additional_special_tokens", "extra_special_tokens"):
            listed = self._token_names.get(list_name)
            if isinstance(listed, Mapping):
                listed = list(listed.values())
            if isinstance(listed, list):
                found += [_spelling(entry) for entry in listed]
        for entry in self.added_tokens().values():
            if entry.get("special"):
                found.append(_spelling(entry))
        return [text for text in dict.fromkeys(found) if text]

    def added_tokens(self) -> dict[int, Mapping[str, object]]:
        """`added_tokens_decoder`: id -> {"content", "special", …}."""
        entries = self.tokenizer_config.get("added_tokens_decoder")
        if not isinstance(entries, Mapping):
            return {}
        return {
            int(token_id): entry
            for token_id, entry in entries.items()
            if str(token_id).isdecimal() and isinstance(entry, Mapping)
        }

    def flag(self, name: str) -> bool | None:
        """A switch of tokenizer_config.json; None if it does not say."""
        value = self.tokenizer_config.get(name)
        return value if isinstance(value, bool) else None

    def eos_ids(self) -> frozenset[int]:
        """`eos_token_id` of generation_config.json and config.json, together."""
        config = self._object("config.json")
        text_config = config.get("text_config")
        sources: list[Mapping[str, object]] = [self._object("generation_config.json"), config]
        if isinstance(text_config, Mapping):
            sources.append(text_config)
        found: set[int] = set()
        for source in sources:
            value = source.get("eos_token_id")
            listed = value if isinstance(value, list) else [value]
            found.update(entry for entry in listed if isinstance(entry, int))
        return frozenset(found)

    def chat_template(self) -> str | None:
        """chat_template.jinja, else chat_template.json, else the one in tokenizer_config.json."""
        source = self.path / "chat_template.jinja"
        if source.is_file():
            templates = {"default": _read(source)}
            for more in sorted((self.path / "additional_chat_templates").glob("*.jinja")):
                templates[more.stem] = _read(more)
            return join_templates(templates)
        for holder in (self._object("chat_template.json"), self.tokenizer_config):
            found = join_templates(_named(holder.get("chat_template")))
            if found:
                return found
        return None

    def _object(self, name: str) -> dict[str, object]:
        path = self.path / name
        if not path.is_file():
            return {}
        try:
            value = json.loads(_read(path))
        except ValueError as error:
            raise CheckpointError(
                f"{path} is not valid JSON ({error}); download it again"
            ) from error
        if not isinstance(value, dict):
            raise CheckpointError(f"{path} holds {type(value).__name__}, not a JSON object")
        return value


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _spelling(entry: object) -> str | None:
    if isinstance(entry, Mapping):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None


def _named(value: object) -> dict[str, str]:
    """A template, or a list of {"name", "template"}."""
    if isinstance(value, str):
        return {"default": value}
    if not isinstance(value, list):
        return {}
    return {
        str(entry.get("name")): entry["template"]
        for entry in value
        if isinstance(entry, Mapping) and isinstance(entry.get("template"), str)
    }
