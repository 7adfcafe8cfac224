"""Models of given shapes with random weights, for benchmarks: nothing is downloaded.

    python benchmarks/random_models.py 0.6b q4_k_m        # prints the path of a GGUF file
    python benchmarks/random_models.py 0.6b safetensors   # a Hugging Face folder in bfloat16

A file is made once and kept in the temporary folder. Every weight is a normal number of variance
1/K, so that activations stay of order one; matrices are put together from a pool of blocks, and so
take no longer to make than to write. Other programs load the files too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from block_encoders import Bytes, Float32Array, encode
from model_files import TensorPlan, write_gguf, write_safetensors

from ftllm.text.vocabulary import byte_alphabet

_VERSION = 1  # part of the names of kept files: raise it when their content changes
_POOL_VALUES = 1 << 22
_PIECE_BLOCKS = 1 << 15  # blocks gathered at once: some 10 MB
_SEED = 20240607
_EPS = 1e-6
_ROPE_THETA = 1e6
_CONTEXT = 40960
_END_TOKEN = "<|end|>"
_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
SAFETENSORS = "safetensors"
RECIPES = ("f32", "bf16", "q8_0", "q4_0", "q4_k_m", SAFETENSORS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A Qwen3 decoder; with `experts` its mixture-of-experts sibling."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    intermediate: int  # of one expert, where there are experts
    experts: int = 0
    experts_per_token: int = 0


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "0.6b": Shape(  # Qwen3-0.6B
            layers=28,
            hidden=1024,
            heads=16,
            kv_heads=8,
            head_dim=128,
            vocabulary=151_936,
            tied=True,
            intermediate=3072,
        ),
        "moe": Shape(
            layers=16,
            hidden=1024,
            heads=16,
            kv_heads=4,
            head_dim=128,
            vocabulary=151_936,
            tied=False,
            intermediate=384,
            experts=64,
            experts_per_token=8,
        ),
    }
)


def random_model(shape: Shape, recipe: str, *, folder: Path | None = None) -> Path:
    """The path of a model that `ftllm` loads: a GGUF file, or a folder for "safetensors".

    `recipe`: the weights' format; "q4_k_m" mixes q4_k and q6_k as llama.cpp does, and "q4_0" has
    its output layer in q6_k. Raises `ValueError` for a recipe that does not fit the shape.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe is {recipe!r}; known are {', '.join(RECIPES)}")
    folder = folder or Path(tempfile.gettempdir()) / "ftllm-random-models"
    key = json.dumps([_VERSION, _SEED, asdict(shape)], sort_keys=True)
    stem = f"{shape.layers}x{shape.hidden}-{hashlib.sha256(key.encode()).hexdigest()[:8]}-{recipe}"
    path = folder / (stem if recipe == SAFETENSORS else f"{stem}.gguf")
    if path.exists():
        return path
    tensors = _tensors(shape, "bf16" if recipe == SAFETENSORS else recipe)
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder, prefix=f".{stem}-"))  # same file system: rename
    try:
        source = RandomWeights()
        if recipe == SAFETENSORS:
            _write_folder(partial, shape, tensors, source)
            partial.rename(path)
        else:
            file = partial / path.name
            write_gguf(file, _metadata(shape), tensors, source.pieces)
            file.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


class RandomWeights:
    """The values of every tensor. A tensor's values depend on its name and shape, so that files
    of several formats hold one model. Pools of encoded blocks are kept for the last format."""

    def __init__(self) -> None:
        self._floats: dict[int, Float32Array] = {}
        self._encoded: dict[tuple[int, str], Bytes] = {}

    def pieces(self, tensor: TensorPlan) -> Iterator[memoryview]:
        if len(tensor.shape) == 3:
            for expert in range(tensor.shape[0]):
                yield from self.pieces(_expert(tensor, expert))
            return
        columns = tensor.shape[-1]
        rng = np.random.default_rng([_SEED, zlib.crc32(tensor.name.encode())])
        if len(tensor.shape) == 1:  # norms
            values = (1 + 0.1 * rng.standard_normal(columns)).astype(np.float32)
            yield memoryview(encode(values[None], tensor.dtype)).cast("B")
            return
        pool = self._pool(columns, tensor.dtype)
        count = int(np.prod(tensor.shape)) // _block_columns(columns)
        for begin in range(0, count, _PIECE_BLOCKS):
            chosen = rng.integers(0, len(pool), min(_PIECE_BLOCKS, count - begin))
            yield memoryview(pool[chosen]).cast("B")

    def _pool(self, columns: int, dtype: str) -> Bytes:
        """(blocks, bytes): values of variance 1 / `columns`, `_block_columns` a block."""
        key = columns, dtype
        if key not in self._encoded:
            if columns not in self._floats:
                block = _block_columns(columns)
                rng = np.random.default_rng([_SEED, columns])
                values = rng.standard_normal((_POOL_VALUES // block, block), np.float32)
                self._floats[columns] = values / np.float32(np.sqrt(columns))
            self._encoded[key] = encode(self._floats[columns], dtype)
        return self._encoded[key]


def _expert(stack: TensorPlan, expert: int) -> TensorPlan:
    return TensorPlan(f"{stack.name}.{expert}", stack.shape[1:], stack.dtype)


def _block_columns(columns: int) -> int:
    """The largest block, of those that formats have, that rows of `columns` consist of."""
    for block in (256, 128, 64, 32):
        if columns % block == 0:
            return block
    raise ValueError(f"a matrix of {columns} columns is not made of blocks of 32")


def _tensors(shape: Shape, recipe: str) -> list[TensorPlan]:
    """Under GGUF's names; a tensor of the experts is a stack."""
    base = "q4_k" if recipe == "q4_k_m" else recipe
    fine = "q6_k" if recipe in ("q4_k_m", "q4_0") else base
    width = shape.hidden
    q_width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    stack = (shape.experts,) if shape.experts else ()
    suffix = "_exps" if shape.experts else ""
    matrix = TensorPlan
    plans = [
        matrix("token_embd.weight", (shape.vocabulary, width), fine if shape.tied else base),
        matrix("output_norm.weight", (width,), "f32"),
    ]
    if not shape.tied:
        plans.append(matrix("output.weight", (shape.vocabulary, width), fine))
    for layer in range(shape.layers):
        mixed = "q6_k" if recipe == "q4_k_m" and _is_fine(layer, shape.layers) else base
        block = f"blk.{layer}"
        plans += [
            matrix(f"{block}.attn_norm.weight", (width,), "f32"),
            matrix(f"{block}.attn_q.weight", (q_width, width), base),
            matrix(f"{block}.attn_k.weight", (kv_width, width), base),
            matrix(f"{block}.attn_v.weight", (kv_width, width), mixed),
            matrix(f"{block}.attn_q_norm.weight", (shape.head_dim,), "f32"),
            matrix(f"{block}.attn_k_norm.weight", (shape.head_dim,), "f32"),
            matrix(f"{block}.attn_output.weight", (width, q_width), base),
            matrix(f"{block}.ffn_norm.weight", (width,), "f32"),
        ]
        if shape.experts:
            plans.append(matrix(f"{block}.ffn_gate_inp.weight", (shape.experts, width), "f32"))
        inner = shape.intermediate
        plans += [
            matrix(f"{block}.ffn_gate{suffix}.weight", (*stack, inner, width), base),
            matrix(f"{block}.ffn_up{suffix}.weight", (*stack, inner, width), base),
            matrix(f"{block}.ffn_down{suffix}.weight", (*stack, width, inner), mixed),
        ]
    return plans


def _is_fine(layer: int, layers: int) -> bool:
    """Layers whose attn_v and ffn_down llama.cpp's Q4_K_M keeps in Q6_K."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _vocabulary(size: int) -> list[str]:
    """A piece a byte, then words that no text becomes (there are no merges), then the end."""
    bytes_ = [byte_alphabet()[byte] for byte in range(256)]
    words = [f"\u0120w{number}" for number in range(size - 257)]  # "Ġ" spells a space
    return [*bytes_, *words, _END_TOKEN]


def _metadata(shape: Shape) -> dict[str, object]:
    architecture = "qwen3moe" if shape.experts else "qwen3"
    keys: dict[str, object] = {
        "context_length": _CONTEXT,
        "embedding_length": shape.hidden,
        "block_count": shape.layers,
        "feed_forward_length": shape.intermediate,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "attention.layer_norm_rms_epsilon": _EPS,
        "rope.freq_base": _ROPE_THETA,
    }
    if shape.experts:
        keys["expert_count"] = shape.experts
        keys["expert_used_count"] = shape.experts_per_token
        keys["expert_feed_forward_length"] = shape.intermediate
    end = shape.vocabulary - 1
    return {
        "general.architecture": architecture,
        "general.name": "random weights",
        "general.quantization_version": 2,
        **{f"{architecture}.{key}": value for key, value in keys.items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": _vocabulary(shape.vocabulary),
        "tokenizer.ggml.token_type": [1] * end + [3],  # normal, and one control token
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": end,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": _TEMPLATE,
    }


_FOLDER_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _write_folder(
    folder: Path, shape: Shape, tensors: list[TensorPlan], source: RandomWeights
) -> None:
    named: dict[str, TensorPlan] = {}  # name in the folder to the tensor that has its values
    for tensor in tensors:
        for name, part in _folder_tensors(tensor):
            named[name] = part
    plans = [TensorPlan(name, part.shape, part.dtype) for name, part in named.items()]
    write_safetensors(
        folder / "model.safetensors", plans, lambda plan: source.pieces(named[plan.name])
    )
    _write_json(folder / "config.json", _folder_config(shape))
    pieces = _vocabulary(shape.vocabulary)
    _write_json(folder / "tokenizer.json", _folder_tokenizer(pieces))
    _write_json(
        folder / "tokenizer_config.json", {"eos_token": _END_TOKEN, "chat_template": _TEMPLATE}
    )


def _folder_tensors(tensor: TensorPlan) -> Iterator[tuple[str, TensorPlan]]:
    *place, stem, kind = tensor.name.split(".")
    prefix = f"model.layers.{place[1]}." if place else ""
    if not stem.endswith("_exps"):
        yield f"{prefix}{_FOLDER_NAMES[stem]}.{kind}", tensor
        return
    piece = _FOLDER_NAMES[stem.removesuffix("_exps")].removeprefix("mlp.")
    for expert in range(tensor.shape[0]):
        yield f"{prefix}mlp.experts.{expert}.{piece}.{kind}", _expert(tensor, expert)


def _folder_config(shape: Shape) -> dict[str, object]:
    config: dict[str, object] = {
        "model_type": "qwen3_moe" if shape.experts else "qwen3",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": _CONTEXT,
        "rms_norm_eps": _EPS,
        "rope_theta": _ROPE_THETA,
        "tie_word_embeddings": shape.tied,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
        "eos_token_id": shape.vocabulary - 1,
    }
    if shape.experts:
        config["num_experts"] = shape.experts
        config["num_experts_per_tok"] = shape.experts_per_token
        config["moe_intermediate_size"] = shape.intermediate
        config["norm_topk_prob"] = True
        config["decoder_sparse_step"] = 1
        config["mlp_only_layers"] = []
    return config


def _folder_tokenizer(pieces: list[str]) -> dict[str, object]:
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    end = {"id": len(pieces) - 1, "content": _END_TOKEN, "special": True, "single_word": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**end, "lstrip": False, "rstrip": False, "normalized": False}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {piece: number for number, piece in enumerate(pieces)},
            "merges": [],
        },
    }


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a model of random weights; print its path.")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--folder", type=Path, help="where to keep it; default: temporary files")
    arguments = parser.parse_args()
    print(random_model(SHAPES[arguments.shape], arguments.recipe, folder=arguments.folder))


if __name__ == "__main__":
    main()
