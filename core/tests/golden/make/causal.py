#!/usr/bin/env python3
"""Makes core/tests/golden/causal: small seeded language models, and the logits that transformers computes with them. Run
again only to add a family; the results are committed and need no library.

Made with torch 2.15.0, transformers 5.24.0 and gguf 0.19.0 on Python 3.11:

    python core/tests/golden/make/causal.py [family …]

The families of STOCK are computed by candle-transformers' own code; they have no GGUF file.

A folder holds config.json and model.safetensors as transformers saves them, texts.json (token ids, and which tokens'
logits are kept) and logits.safetensors (those logits, one text after another). Beside them, model.gguf has the same
numbers in f32 under the names and the metadata of llama.cpp's conversion, where that changes numbers or names.
"""

import json
import sys
from pathlib import Path

import gguf
import torch
import transformers as t
from safetensors.torch import load_file, save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

HERE = Path(__file__).resolve().parent.parent / "causal"
LENGTHS = [7, 1, 40, 16, 100]
SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
WIDE = SHAPE | {"head_dim": 16}


def rope(kind, **rest):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0} | rest}


LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=32)
# gpt-oss ends its ramp between pairs; Ministral 3 scales queries too.
UNTRUNCATED = rope("yarn", factor=4.0, original_max_position_embeddings=32, truncate=False)
SCALED = rope(
    "yarn",
    factor=4.0,
    original_max_position_embeddings=32,
    max_position_embeddings=128,
    mscale=1.0,
    mscale_all_dim=1.0,
    llama_4_scaling_beta=0.4,
)
LONGROPE = rope(
    "longrope",
    short_factor=[1.0, 1.1, 1.2, 1.4, 1.6, 2.0],
    long_factor=[1.0, 1.5, 2.5, 4.0, 8.0, 16.0],
    original_max_position_embeddings=32,
    partial_rotary_factor=0.75,
)

def gpt_oss():
    shape = WIDE | UNTRUNCATED | {"intermediate_size": 64}
    return t.GptOssForCausalLM(
        t.GptOssConfig(**shape, num_local_experts=6, num_experts_per_tok=2, sliding_window=12)
    )


FAMILIES = {
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**SHAPE | {"max_position_embeddings": 8192})),
    "llama3": lambda: t.LlamaForCausalLM(
        t.LlamaConfig(**WIDE | LLAMA3, tie_word_embeddings=True, attention_bias=True, mlp_bias=True)
    ),
    "llama-linear": lambda: t.LlamaForCausalLM(t.LlamaConfig(**SHAPE | rope("linear", factor=4.0))),
    "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**WIDE, sliding_window=12)),
    "smollm3": lambda: t.SmolLM3ForCausalLM(
        t.SmolLM3Config(**SHAPE | {"num_hidden_layers": 4}, tie_word_embeddings=True)
    ),
    "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**SHAPE | YARN, tie_word_embeddings=True)),
    "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**WIDE, tie_word_embeddings=False)),
    "gemma2": lambda: t.Gemma2ForCausalLM(
        t.Gemma2Config(
            **WIDE,
            sliding_window=12,
            query_pre_attn_scalar=16,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=3.0,
        )
    ),
    "gemma3": lambda: t.Gemma3ForCausalLM(
        t.Gemma3TextConfig(
            **WIDE | {"num_hidden_layers": 7, "num_key_value_heads": 1}, sliding_window=12, query_pre_attn_scalar=16
        )
    ),
    "phi3": lambda: t.Phi3ForCausalLM(
        t.Phi3Config(
            **SHAPE | LONGROPE | {"hidden_size": 64}, original_max_position_embeddings=32, partial_rotary_factor=0.75
        )
    ),
    "granite": lambda: t.GraniteForCausalLM(
        t.GraniteConfig(
            **SHAPE,
            embedding_multiplier=3.0,
            residual_multiplier=0.4,
            attention_multiplier=0.2,
            logits_scaling=2.0,
            tie_word_embeddings=True,
        )
    ),
    "qwen3-moe": lambda: t.Qwen3MoeForCausalLM(
        t.Qwen3MoeConfig(
            **WIDE, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, norm_topk_prob=True
        )
    ),
    "ministral3": lambda: t.Ministral3ForCausalLM(t.Ministral3Config(**WIDE | SCALED)),
    "gpt-oss": gpt_oss,
    "gpt-oss-mxfp4": gpt_oss,
}

LONG = SHAPE | {"max_position_embeddings": 512}
EXPERTS = {"num_experts_per_tok": 2}
STOCK = {
    "gemma": lambda: t.GemmaForCausalLM(t.GemmaConfig(**LONG, head_dim=16)),
    "glm4": lambda: t.Glm4ForCausalLM(t.Glm4Config(**LONG, head_dim=16, attention_bias=True)),
    "helium": lambda: t.HeliumForCausalLM(t.HeliumConfig(**LONG, head_dim=8)),
    "mixtral": lambda: t.MixtralForCausalLM(t.MixtralConfig(**LONG, **EXPERTS, num_local_experts=4)),
    "olmo": lambda: t.OlmoForCausalLM(t.OlmoConfig(**LONG, clip_qkv=1.0)),
    "olmo2": lambda: t.Olmo2ForCausalLM(t.Olmo2Config(**LONG)),
    "phi": lambda: t.PhiForCausalLM(t.PhiConfig(**LONG, partial_rotary_factor=0.5)),
    "qwen2_moe": lambda: t.Qwen2MoeForCausalLM(
        t.Qwen2MoeConfig(
            **LONG, **EXPERTS, num_experts=4, moe_intermediate_size=24, shared_expert_intermediate_size=40
        )
    ),
    "stablelm": lambda: t.StableLmForCausalLM(
        t.StableLmConfig(**LONG, partial_rotary_factor=0.25, use_qkv_bias=True)
    ),
    "starcoder2": lambda: t.Starcoder2ForCausalLM(t.Starcoder2Config(**LONG, sliding_window=None)),
}

# By family: llama.cpp's architecture, and whether its conversion brings the halves of a head together.
GGUF = {
    "llama": (gguf.MODEL_ARCH.LLAMA, True),
    "llama3": (gguf.MODEL_ARCH.LLAMA, True),
    "llama-linear": (gguf.MODEL_ARCH.LLAMA, True),
    "smollm3": (gguf.MODEL_ARCH.SMOLLM3, True),
    "qwen2": (gguf.MODEL_ARCH.QWEN2, False),
    "qwen3": (gguf.MODEL_ARCH.QWEN3, False),
    "qwen3-moe": (gguf.MODEL_ARCH.QWEN3MOE, False),
    "gemma2": (gguf.MODEL_ARCH.GEMMA2, False),
    "gemma3": (gguf.MODEL_ARCH.GEMMA3, False),
    "phi3": (gguf.MODEL_ARCH.PHI3, False),
    "granite": (gguf.MODEL_ARCH.GRANITE, True),
    "ministral3": (gguf.MODEL_ARCH.MISTRAL3, True),
    "gpt-oss": (gguf.MODEL_ARCH.GPT_OSS, False),
    "gpt-oss-mxfp4": (gguf.MODEL_ARCH.GPT_OSS, False),
}


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights that keep signals near one and attention uneven, so that every part of the model shows in the result."""
    generator = torch.Generator().manual_seed(seed)
    around_zero = "Gemma" in type(model).__name__
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("sinks"):
            parameter.data = noise
        elif parameter.dim() == 1:
            norm = name.endswith("weight") and not around_zero
            parameter.data = 1 + 0.2 * noise if norm else 0.1 * noise
        elif "embed" in name:
            parameter.data = 0.5 * noise
        else:
            # Experts come with one more dimension. Gates of gpt-oss are large enough to be clamped.
            clamped = "GptOss" in type(model).__name__ and name.endswith("gate_up_proj")
            parameter.data = (6 if clamped else 1.5) * noise / parameter.shape[-1] ** 0.5


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """As `LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def to_mxfp4(model, seed: int) -> dict[str, torch.Tensor]:
    """Gives the experts weights that MXFP4 has, and returns them as OpenAI's repositories store them."""
    generator = torch.Generator().manual_seed(seed)
    stored = {}
    for number, layer in enumerate(model.model.layers):
        for name in ("gate_up_proj", "down_proj"):
            weight = getattr(layer.mlp.experts, name)
            experts, inputs, outputs = weight.shape
            blocks = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
            # Powers of two around an eighth, larger for gates.
            least = 124 if name == "gate_up_proj" else 122
            scales = torch.randint(least, least + 3, blocks.shape[:-1], generator=generator, dtype=torch.uint8)
            weight.data = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
            assert weight.shape == (experts, inputs, outputs)
            key = f"model.layers.{number}.mlp.experts.{name}"
            stored |= {f"{key}_blocks": blocks, f"{key}_scales": scales}
    return stored


def add_experts_of_gpt_oss(writer: gguf.GGUFWriter, key: str, tensor: torch.Tensor, is_mxfp4: bool) -> None:
    """As `GptOssModel` of llama.cpp's conversion: gates and what they gate apart, rows and columns exchanged."""
    layer, name = key.split(".")[2], key.split(".")[-1]
    is_bias = name.endswith("_bias")
    parts = {"down": tensor} if name.startswith("down") else {"gate": tensor[..., ::2], "up": tensor[..., 1::2]}
    for which, part in parts.items():
        to = f"blk.{layer}.ffn_{which}_exps.{'bias' if is_bias else 'weight'}"
        values = (part if is_bias else part.transpose(1, 2)).float().contiguous().numpy()
        if is_bias or not is_mxfp4:
            writer.add_tensor(to, values)
            continue
        kind = gguf.GGMLQuantizationType.MXFP4
        blocks = gguf.quants.quantize(values, kind)
        assert (gguf.quants.dequantize(blocks, kind) == values).all()
        writer.add_tensor(to, blocks, raw_dtype=kind)


def write_gguf(name: str, model) -> None:
    architecture, is_permuted = GGUF[name]
    config, rope = model.config, model.config.rope_parameters
    if "sliding_attention" in rope:
        rope = rope["full_attention"]
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(HERE / name / "model.gguf", gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head_size * rope.get("partial_rotary_factor", 1.0)))
    kind = rope["rope_type"]
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if name == "ministral3":
            writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
            writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])
            # How a file says what its model is sampled with.
            writer.add_sampling_temp(0.15)
            writer.add_sampling_top_k(-1)
            writer.add_sampling_penalty_repeat(1.1)
    elif kind == "llama3":
        plain = 1 / rope["rope_theta"] ** (torch.arange(0, head_size, 2).float() / head_size)
        scaled, _ = t.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        writer.add_tensor("rope_freqs.weight", (plain / scaled).float().numpy())
    elif kind == "longrope":
        original = rope["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(original)
        factor = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors((1 + torch.tensor(factor).log() / torch.tensor(original).log()).sqrt().item())
        for which in ("long", "short"):
            factors = torch.tensor(rope[f"{which}_factor"], dtype=torch.float32)
            writer.add_tensor(f"rope_factors_{which}.weight", factors.numpy())
    if name.startswith(("gemma", "gpt-oss")):
        writer.add_sliding_window(config.sliding_window)
    if name == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if name == "qwen3-moe":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if name.startswith("gpt-oss"):
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.intermediate_size)
    if name == "granite":
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name.startswith("gpt-oss") and ".mlp.experts." in key:
            add_experts_of_gpt_oss(writer, key, tensor, name == "gpt-oss-mxfp4")
            continue
        if key.endswith("sinks"):
            key += ".weight"
        if key.endswith("experts.gate_up_proj"):
            # One tensor here, two there.
            layer = key.split(".")[2]
            for which, part in zip(("gate", "up"), tensor.chunk(2, dim=1)):
                writer.add_tensor(f"blk.{layer}.ffn_{which}_exps.weight", part.float().contiguous().numpy())
            continue
        if key.endswith("experts.down_proj"):
            key += ".weight"
        found = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert found is not None, f"{name}: {key} has no name in GGUF"
        if is_permuted and ".q_proj." in key:
            tensor = permuted(tensor, config.num_attention_heads)
        if is_permuted and ".k_proj." in key:
            tensor = permuted(tensor, config.num_key_value_heads)
        if name.startswith("gemma") and key.endswith("norm.weight"):
            tensor = tensor + 1
        writer.add_tensor(found, tensor.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(name: str) -> None:
    families = FAMILIES | STOCK
    seed = 1 + list(families).index(name)
    torch.manual_seed(seed)
    model = families[name]().eval()
    randomise(model, seed)
    packed = to_mxfp4(model, seed) if name == "gpt-oss-mxfp4" else {}
    model.config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(seed)
    lengths = LENGTHS + ([4500] if name == "llama" else [300] if name in STOCK else [])
    texts = [torch.randint(3, 60, (length,), generator=generator) for length in lengths]
    rows, logits = [], []
    for text in texts:
        kept = list(range(len(text))) if len(text) <= 100 else [0, 100, len(text) // 2, len(text) - 2, len(text) - 1]
        with torch.no_grad():
            of_text = model(input_ids=text[None]).logits[0]
        rows.append(kept)
        logits.append(of_text[kept])
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if packed:
        tensors = load_file(folder / "model.safetensors")
        for key in [key.removesuffix("_blocks") for key in packed if key.endswith("_blocks")]:
            del tensors[key]
        save_file(tensors | packed, folder / "model.safetensors", metadata={"format": "pt"})
    written = [{"ids": text.tolist(), "rows": kept} for text, kept in zip(texts, rows)]
    (folder / "texts.json").write_text(json.dumps(written) + "\n")
    save_file({"logits": torch.cat(logits).contiguous()}, folder / "logits.safetensors")
    if name in GGUF:
        write_gguf(name, model)
    print(f"{name}: {sum(file.stat().st_size for file in folder.iterdir()) // 1000} kB")


for family in sys.argv[1:] or FAMILIES | STOCK:
    make(family)
