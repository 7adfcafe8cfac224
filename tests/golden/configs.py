"""Source configs of the golden rows; make_models.py turns them into <row>/config.json."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

VOCAB_SIZE = 256
ORIGINAL_CONTEXT = 16  # of the rope-scaling rows, whose sequences are longer

_BASE: Config = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
    "dtype": "float32",
}

_LLAMA3: Config = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    # Twice as long: one frequency stays, one is blended, the rest are divided by the factor.
    "original_max_position_embeddings": 2 * ORIGINAL_CONTEXT,
}

_GEMMA: Config = {
    "model_type": "gemma3_text",
    "hidden_size": 96,  # sqrt(96) is inexact, as the real models' embedding scale is
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "sliding_window": 8,
    "query_pre_attn_scalar": 32,
    "rms_norm_eps": 1e-6,
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
    "final_logit_softcapping": None,
    "attn_logit_softcapping": None,
}

_MOE: Config = {
    "model_type": "qwen3_moe",
    "head_dim": 32,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}

# What transformers 5 is given and saves in its own spelling.
CONFIGS: dict[str, Config] = {
    "llama": {"model_type": "llama", "num_key_value_heads": 4},
    "llama_gqa": {"model_type": "llama", "head_dim": 32, "tie_word_embeddings": False},
    "llama_bias": {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    "llama_linear": {
        "model_type": "llama",
        "rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
    },
    "llama_dynamic": {
        "model_type": "llama",
        "max_position_embeddings": 64,
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
    },
    "llama_dynamic_beyond": {
        "model_type": "llama",
        "max_position_embeddings": ORIGINAL_CONTEXT,
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
    },
    "llama_llama3": {
        "model_type": "llama",
        "head_dim": 32,
        "rope_parameters": {"rope_theta": 5e5, **_LLAMA3},
    },
    "llama_yarn": {
        "model_type": "llama",
        "max_position_embeddings": 64,
        "head_dim": 32,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1e4,
            "factor": 4.0,
            "original_max_position_embeddings": ORIGINAL_CONTEXT,
        },
    },
    "mistral": {"model_type": "mistral", "head_dim": 32, "sliding_window": 8},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": False},
    "qwen2_window": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 8,
        "max_window_layers": 1,
    },
    "qwen3": {
        "model_type": "qwen3",
        "head_dim": 32,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    "gemma3": {
        **_GEMMA,
        "num_hidden_layers": 3,
        "query_pre_attn_scalar": 24,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
        },
    },
    "gemma3_pattern": {**_GEMMA, "num_hidden_layers": 7},
    "qwen3_moe": _MOE,
    "qwen3_moe_mixed": {
        **_MOE,
        "num_hidden_layers": 4,
        "num_experts_per_tok": 3,
        "decoder_sparse_step": 2,
        "mlp_only_layers": [3],
        "tie_word_embeddings": True,
    },
}

# Written word for word: spellings that checkpoints of earlier transformers carry.
VERBATIM: dict[str, Config] = {
    "llama_linear_old": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rope_theta": 1e4,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    },
    "llama_llama3_old": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "head_dim": 32,
        "rope_theta": 5e5,
        "rope_scaling": _LLAMA3,
    },
    "qwen2_window_off": {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "rope_theta": 1e6,
        "use_sliding_window": False,
        "sliding_window": 8,
        "max_window_layers": 0,
    },
    "gemma3_old": {
        **_GEMMA,
        "architectures": ["Gemma3ForCausalLM"],
        "num_hidden_layers": 3,
        "query_pre_attn_scalar": 24,
        "sliding_window_pattern": 3,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "qwen3_moe_unnormed": {
        **{key: value for key, value in _MOE.items() if key != "rope_parameters"},
        "architectures": ["Qwen3MoeForCausalLM"],
        "norm_topk_prob": False,
        "rope_theta": 1e6,
        "rope_scaling": None,
    },
}


def source_config(name: str) -> Config:
    """The full source config of row `name`."""
    return {**_BASE, **(CONFIGS | VERBATIM)[name]}
