"""Writes Stable Diffusion with random weights in 16 bits: `python make.py sd15|sdxl FOLDER`. Only for measurements."""

import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

CROSS, CROSS_UP, PLAIN, PLAIN_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D", "DownBlock2D", "UpBlock2D"
UNETS = {
    "sd15": dict(
        sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8,
        down_block_types=(CROSS, CROSS, CROSS, PLAIN), up_block_types=(PLAIN_UP, CROSS_UP, CROSS_UP, CROSS_UP),
    ),
    "sdxl": dict(
        sample_size=128, block_out_channels=(320, 640, 1280), cross_attention_dim=2048, attention_head_dim=(5, 10, 20),
        down_block_types=(PLAIN, CROSS, CROSS), up_block_types=(CROSS_UP, CROSS_UP, PLAIN_UP),
        transformer_layers_per_block=(1, 2, 10), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
    ),
}
VAE = dict(
    block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
)
TEXT = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=49408, projection_dim=768)
TEXT_2 = dict(
    hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, vocab_size=49408,
    projection_dim=1280, hidden_act="gelu",
)
FLOATS = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}


def parts(variant: str):
    """Each part's name and what makes it, one after another, so that only one is in memory."""
    side = UNETS[variant]["sample_size"] * 8
    yield "unet", lambda: UNet2DConditionModel(layers_per_block=2, **UNETS[variant])
    yield "vae", lambda: AutoencoderKL(sample_size=side, scaling_factor=0.13025 if variant == "sdxl" else 0.18215, **VAE)
    yield "text_encoder", lambda: CLIPTextModel(CLIPTextConfig(**TEXT))
    if variant == "sdxl":
        yield "text_encoder_2", lambda: CLIPTextModelWithProjection(CLIPTextConfig(**TEXT_2))


def write_part(folder: Path, part: str, make) -> None:
    torch.manual_seed(sum(part.encode()))
    # Made in 16 bits: a UNet of SDXL takes 10 GB in 32.
    torch.set_default_dtype(torch.float16)
    model, is_text = make(), part.startswith("text")
    (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / part / "config.json").write_text(model.config.to_json_string() if is_text else model.to_json_string())
    state = {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}
    if is_text:
        bare = lambda name: name.startswith("text_model.") or name.startswith("text_projection")
        state = {name if bare(name) else f"text_model.{name}": value for name, value in state.items()}
    save_file(state, folder / part / ("model.safetensors" if is_text else "diffusion_pytorch_model.safetensors"), metadata={"format": "pt"})


def write_tokenizer(folder: Path) -> None:
    # A few tokens are enough: every prompt is padded to 77.
    folder.mkdir(exist_ok=True)
    tokens = [chr(c) for c in range(33, 127)] + [chr(c) + "</w>" for c in range(33, 127)]
    vocabulary = {token: i for i, token in enumerate(tokens)} | {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = {"tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))


def main(variant: str, folder: Path) -> None:
    index = {"_class_name": "StableDiffusionXLPipeline" if variant == "sdxl" else "StableDiffusionPipeline"}
    for part, make in parts(variant):
        write_part(folder, part, make)
        library = "diffusers" if part in FLOATS else "transformers"
        kind = FLOATS[part].__name__ if part in FLOATS else "CLIPTextModelWithProjection" if part.endswith("_2") else "CLIPTextModel"
        index[part] = [library, kind]
        if library == "transformers":
            tokenizer = part.replace("text_encoder", "tokenizer")
            write_tokenizer(folder / tokenizer)
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
    (folder / "scheduler").mkdir(exist_ok=True)
    betas = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    scheduler = EulerDiscreteScheduler(**betas) if variant == "sdxl" else PNDMScheduler(skip_prk_steps=True, **betas)
    (folder / "scheduler/scheduler_config.json").write_text(scheduler.to_json_string())
    index["scheduler"] = ["diffusers", type(scheduler).__name__]
    # Last: who finds it finds a whole folder.
    (folder / "model_index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in UNETS:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
