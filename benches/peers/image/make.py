"""Writes a Stable Diffusion 1.5 with random weights in 16 bits: `python make.py FOLDER`. Only for measurements."""

import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

UNET = dict(
    sample_size=64, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2, cross_attention_dim=768, attention_head_dim=8,
    down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
)
VAE = dict(
    block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
)
TEXT = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=49408, projection_dim=768)


def models() -> dict:
    torch.manual_seed(0)
    return {"unet": UNet2DConditionModel(**UNET), "vae": AutoencoderKL(**VAE), "text_encoder": CLIPTextModel(CLIPTextConfig(**TEXT))}


def main(folder: Path) -> None:
    for part, model in models().items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        config = model.config.to_json_string() if part == "text_encoder" else model.to_json_string()
        (folder / part / "config.json").write_text(config)
        state = {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}
        if part == "text_encoder":
            state = {name if name.startswith("text_model.") else f"text_model.{name}": value for name, value in state.items()}
        save_file(state, folder / part / ("model.safetensors" if part == "text_encoder" else "diffusion_pytorch_model.safetensors"))
    (folder / "scheduler").mkdir(exist_ok=True)
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1)
    (folder / "scheduler/scheduler_config.json").write_text(scheduler.to_json_string())
    # A few tokens are enough: every prompt is padded to 77.
    (folder / "tokenizer").mkdir(exist_ok=True)
    tokens = [chr(c) for c in range(33, 127)] + [chr(c) + "</w>" for c in range(33, 127)]
    vocabulary = {token: i for i, token in enumerate(tokens)} | {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    (folder / "tokenizer/vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer/tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"}))
    index = {
        "_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "PNDMScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
