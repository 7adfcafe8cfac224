"""Which files of a repository make up a model."""

from __future__ import annotations

import pytest

from ftllm.errors import ModelSourceError
from ftllm.sources.hub_files import Selection, select

GGUF = [
    ".gitattributes",
    "README.md",
    "m-Q4_K_M.gguf",
    "m-Q4_K_S.gguf",
    "m-Q8_0.gguf",
    "m-BF16/m-BF16-00001-of-00002.gguf",
    "m-BF16/m-BF16-00002-of-00002.gguf",
    "mmproj-m-f16.gguf",
]
BF16 = ("m-BF16/m-BF16-00001-of-00002.gguf", "m-BF16/m-BF16-00002-of-00002.gguf")


def test_safetensors_with_what_belongs_to_them() -> None:
    wanted = [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer.model",
        "vocab.txt",
    ]
    other = ["README.md", "pytorch_model.bin", "onnx/model.onnx", "onnx/config.json"]
    other += ["consolidated.safetensors", "original/params.json", "m.gguf", "training_args.bin"]
    assert select("a/b", [*other, *wanted], None) == Selection(tuple(wanted), None)


def test_the_only_gguf_model() -> None:
    assert select("a/b", ["x.gguf", "mmproj-x.gguf"], None) == Selection(("x.gguf",), "x.gguf")
    assert select("a/b", BF16, None) == Selection(BF16, BF16[0])


@pytest.mark.parametrize(
    ("choice", "files"),
    [
        ("m-Q8_0.gguf", ("m-Q8_0.gguf",)),
        ("Q4_K_M", ("m-Q4_K_M.gguf",)),
        ("q8_0", ("m-Q8_0.gguf",)),
        ("bf16", BF16),
        (BF16[0], BF16),
        (BF16[1], BF16),
    ],
)
def test_a_choice(choice: str, files: tuple[str, ...]) -> None:
    assert select("a/b", GGUF, choice) == Selection(files, files[0])


@pytest.mark.parametrize(
    ("names", "choice", "message"),
    [
        (GGUF, None, "4 GGUF models; choose one of:\n  a/b:m-BF16/m-BF16-00001-of-00002.gguf\n"),
        (GGUF, "m", "4 GGUF models match 'm'"),
        (GGUF, "Q4_K", "no GGUF model matches 'Q4_K'; it has:\n  a/b:m-BF16"),
        (GGUF, "m-Q2_K.gguf", "no GGUF model matches"),
        (BF16[:1], None, "m-BF16-00002-of-00002.gguf is missing"),
        (["README.md"], None, "neither model*.safetensors nor .gguf"),
        (["config.json", "pytorch_model.bin"], None, "PyTorch .bin files"),
        (["model.safetensors"], "Q4_0", "neither"),
    ],
)
def test_what_is_not_clear(names: list[str], choice: str | None, message: str) -> None:
    with pytest.raises(ModelSourceError) as caught:
        select("a/b", names, choice)
    assert message in str(caught.value)
