#!/usr/bin/env python3
"""Makes core/tests/golden/diffusion: small Stable Diffusion pipelines of every kind, and what diffusers computes with
them. Run again only to add a case; the results are committed and need no library.

Made with torch 2.15.0, diffusers 0.42.1, transformers 5.23.0, peft on Python 3.11:

    python core/tests/golden/make/diffusion.py

A folder is a diffusers repository without weights: shapes.json has the names and shapes of each part's tensors, and
`numbers` below computes their values, as the Rust test does. outputs.safetensors has what each part gives.
"""

import json
import re
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = Path(__file__).resolve().parent.parent / "diffusion"
PROMPT = "a cat on the moon"
NEGATIVE = "blurry dog"
MASK = (1 << 64) - 1


def numbers(name: str, count: int) -> np.ndarray:
    """Numbers in [-1, 1) that every language computes the same: splitmix64 from the FNV-1a hash of a name."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & MASK
    z = np.arange(count, dtype=np.uint64) + np.uint64(seed)
    z = (z + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def weight(name: str, shape: list[int]) -> torch.Tensor:
    """Weights that keep signals near one."""
    noise = numbers(name, int(np.prod(shape)))
    if len(shape) == 1:
        values = np.float32(1) + np.float32(0.25) * noise if name.endswith("weight") else np.float32(0.125) * noise
    elif "embedding" in name and "linear" not in name and "cond_proj" not in name:
        values = noise
    else:
        values = noise * np.float32((3 / np.prod(shape[1:])) ** 0.5)
    return torch.from_numpy(values.reshape(shape))


def normal(name: str, shape: list[int]) -> torch.Tensor:
    """Numbers of variance one."""
    return torch.from_numpy((numbers(name, int(np.prod(shape))) * np.float32(3**0.5)).reshape(shape))


def fill(part: str, model: torch.nn.Module) -> dict:
    """Sets a model's weights; returns the shapes."""
    state = {name: list(value.shape) for name, value in model.state_dict().items() if "position_ids" not in name}
    model.load_state_dict({name: weight(f"{part}/{stored(part, name)}", shape) for name, shape in state.items()}, strict=False)
    model.eval()
    return {stored(part, name): shape for name, shape in state.items()}


def stored(part: str, name: str) -> str:
    """The name in repositories: this version of transformers leaves a prefix out in memory."""
    has_prefix = not part.startswith("text") or name.startswith(("text_model.", "text_projection."))
    return name if has_prefix else f"text_model.{name}"


def skipped(pipe) -> torch.Tensor:
    """The states of a prompt with clip_skip=1. diffusers' own code for it does not run with this version of transformers."""
    if hasattr(pipe, "tokenizer_2"):
        return pipe.encode_prompt(PROMPT, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False, clip_skip=1)[0][0]
    ids = pipe.tokenizer(PROMPT, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    encoder = pipe.text_encoder
    states = encoder(ids, output_hidden_states=True).hidden_states[-2]
    return getattr(encoder, "text_model", encoder).final_layer_norm(states)[0]


def tokenizer(folder: Path, pad: str) -> int:
    """A CLIP tokenizer of bytes and a few words."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer as _  # noqa: F401

    codes = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    characters, extra = [chr(c) for c in codes], 0
    for byte in range(256):
        if byte not in codes:
            characters.append(chr(256 + extra))
            extra += 1
    merges = ["c a", "ca t</w>", "o n</w>", "t h", "th e</w>", "m o", "mo on</w>", "d o", "do g</w>", "b l", "u r", "bl ur"]
    vocabulary = characters + [c + "</w>" for c in characters] + [m.replace(" ", "") for m in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad, "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return len(vocabulary)


def write(folder: Path, name: str, config: dict) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(config, indent=1) + "\n")


def text_config(vocabulary: int, **more) -> CLIPTextConfig:
    return CLIPTextConfig(vocab_size=vocabulary, max_position_embeddings=77, bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=1, **more)


SD1_UNET = dict(
    sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8, attention_head_dim=4,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=24,
)
VAE = dict(
    block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4, latent_channels=4,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
)
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)

TEXT1 = dict(hidden_size=24, intermediate_size=48, num_hidden_layers=3, num_attention_heads=3, hidden_act="quick_gelu")
PIPELINES = {
    # With the numbers of groups, heads and layers that all single-file checkpoints have.
    "sd1": dict(
        unet=dict(SD1_UNET, block_out_channels=(32, 64), layers_per_block=2, norm_num_groups=32, attention_head_dim=8, cross_attention_dim=128),
        text=[dict(TEXT1, hidden_size=128, intermediate_size=96, num_attention_heads=2)],
        vae=dict(VAE, block_out_channels=(32, 32, 64, 64), norm_num_groups=32),
        scheduler=("PNDMScheduler", dict(**BETAS, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)),
    ),
    "sd2": dict(
        unet=dict(SD1_UNET, use_linear_projection=True, attention_head_dim=(2, 4)), vae=VAE,
        text=[dict(TEXT1, hidden_act="gelu")],
        scheduler=("DDIMScheduler", dict(**BETAS, prediction_type="v_prediction", clip_sample=False, steps_offset=1, set_alpha_to_one=False)),
    ),
    "sdxl": dict(
        unet=dict(
            SD1_UNET, use_linear_projection=True, attention_head_dim=(2, 4), cross_attention_dim=56, transformer_layers_per_block=(1, 2),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=40 + 48,
        ),
        text=[TEXT1, dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, hidden_act="gelu", projection_dim=40)],
        vae=dict(VAE, scaling_factor=0.13025),
        scheduler=("EulerDiscreteScheduler", dict(**BETAS, timestep_spacing="leading", steps_offset=1)),
    ),
    "lcm": dict(
        unet=dict(SD1_UNET, time_cond_proj_dim=16), text=[TEXT1], vae=VAE,
        scheduler=("LCMScheduler", dict(**BETAS, steps_offset=1, set_alpha_to_one=True)),
    ),
    "inpaint": dict(
        unet=dict(SD1_UNET, in_channels=9), text=[TEXT1], vae=VAE,
        scheduler=("PNDMScheduler", dict(**BETAS, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)),
    ),
}


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.detach().permute(0, 2, 3, 1).contiguous().to(torch.float32)


def build(name: str, parts: dict):
    folder = HERE / name
    shapes = {}
    vocabulary = tokenizer(folder / "tokenizer", "<|endoftext|>")
    is_xl = len(parts["text"]) == 2
    encoders, tokenizers = [], [CLIPTokenizer.from_pretrained(folder / "tokenizer")]
    for number, config in enumerate(parts["text"]):
        where = "text_encoder" if number == 0 else "text_encoder_2"
        encoder = (CLIPTextModelWithProjection if number else CLIPTextModel)(text_config(vocabulary, **config))
        shapes[where] = fill(where, encoder)
        write(folder, f"{where}/config.json", json.loads(encoder.config.to_json_string()))
        encoders.append(encoder)
    if is_xl:
        tokenizer(folder / "tokenizer_2", "!")
        tokenizers.append(CLIPTokenizer.from_pretrained(folder / "tokenizer_2"))
    unet = UNet2DConditionModel(**parts["unet"])
    vae = AutoencoderKL(**parts["vae"])
    for where, model in [("unet", unet), ("vae", vae)]:
        shapes[where] = fill(where, model)
        write(folder, f"{where}/config.json", json.loads(model.to_json_string()))
    class_name, config = parts["scheduler"]
    scheduler = getattr(diffusers, class_name)(**config)
    write(folder, "scheduler/scheduler_config.json", json.loads(scheduler.to_json_string()))
    common = dict(vae=vae, text_encoder=encoders[0], tokenizer=tokenizers[0], unet=unet, scheduler=scheduler)
    if is_xl:
        pipe = StableDiffusionXLPipeline(**common, text_encoder_2=encoders[1], tokenizer_2=tokenizers[1], force_zeros_for_empty_prompt=True, add_watermarker=False)
    elif name == "lcm":
        pipe = diffusers.LatentConsistencyModelPipeline(**common, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    elif name == "inpaint":
        pipe = diffusers.StableDiffusionInpaintPipeline(**common, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    else:
        pipe = StableDiffusionPipeline(**common, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    index = {"_class_name": type(pipe).__name__, "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", class_name]}
    for number in range(len(encoders)):
        end = "_2" if number else ""
        index |= {f"text_encoder{end}": ["transformers", type(encoders[number]).__name__], f"tokenizer{end}": ["transformers", "CLIPTokenizer"]}
    write(folder, "model_index.json", index)
    (folder / "shapes.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n")
    pipe.set_progress_bar_config(disable=True)
    return folder, pipe


def scheduler_noise(seed: str):
    """Replaces the random numbers of schedulers with those of `normal`."""
    counter = iter(range(1000))

    def draw(shape, *_, **__):
        return normal(f"{seed}/{next(counter)}", list(shape))

    for module in [diffusers.schedulers.scheduling_lcm, diffusers.schedulers.scheduling_tcd, diffusers.schedulers.scheduling_euler_ancestral_discrete,
                   diffusers.schedulers.scheduling_ddpm, diffusers.schedulers.scheduling_dpmsolver_multistep]:
        module.randn_tensor = draw


def blocks(folder: Path, unet, inputs: tuple, more: dict) -> None:
    """What each part of a UNet gives for the first row, in 16 bits."""
    is_part = re.compile(r"(down|up)_blocks\.\d+\.(resnets|attentions|downsamplers|upsamplers)\.\d+|mid_block\.(attentions\.0|resnets\.1)").fullmatch
    found, hooks = {}, []
    for where, module in unet.named_modules():
        if is_part(where):
            keep = lambda _, __, given, where=where: found.update({where: given if torch.is_tensor(given) else given[0]})
            hooks.append(module.register_forward_hook(keep))
    unet(*inputs, **more)
    for hook in hooks:
        hook.remove()
    save_file({where: channels_last(x)[0].to(torch.float16) for where, x in found.items()}, folder / "blocks.safetensors")


def pipeline(name: str, parts: dict) -> None:
    folder, pipe = build(name, parts)
    out = {}
    with torch.no_grad():
        is_xl = len(parts["text"]) == 2
        encoded = pipe.encode_prompt(PROMPT, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True, negative_prompt=NEGATIVE)
        out["prompt"], out["negative"] = encoded[0][0], encoded[1][0]
        out["skipped"] = skipped(pipe)
        out["ids"] = torch.tensor(pipe.tokenizer("It's 3 cats, ON the MÖÖN!\t(x)").input_ids, dtype=torch.int64)
        unet, context = pipe.unet, 77
        channels = unet.config.in_channels
        latents = normal("latents", [2, channels, 6, 10])
        states = torch.cat([encoded[0], encoded[1]])
        more = {}
        if is_xl:
            out["pooled"] = encoded[2][0]
            ids = torch.tensor([[64.0, 80, 0, 8, 48, 80], [48.0, 80, 0, 0, 48, 80]])
            more["added_cond_kwargs"] = {"text_embeds": torch.cat([encoded[2], encoded[3]]), "time_ids": ids}
        if name == "lcm":
            scales = torch.tensor([7.5, 1.5]) - 1
            more["timestep_cond"] = pipe.get_guidance_scale_embedding(scales, embedding_dim=unet.config.time_cond_proj_dim)
        out["unet"] = channels_last(unet(latents, torch.tensor([981.0, 20.5]), encoder_hidden_states=states, **more).sample)
        if name in ("sd1", "sdxl"):
            blocks(folder, unet, (latents, torch.tensor([981.0, 20.5]), states), more)
        # A size whose halves are odd.
        odd = normal("odd", [1, channels, 7, 9])
        if is_xl:
            more["added_cond_kwargs"] = {key: value[:1] for key, value in more["added_cond_kwargs"].items()}
        if name == "lcm":
            more["timestep_cond"] = more["timestep_cond"][:1]
        out["unet_odd"] = channels_last(unet(odd, torch.tensor([500.0]), encoder_hidden_states=states[:1], **more).sample)
        vae = pipe.vae
        latent = normal("latent", [1, 4, 6, 5])
        out["decoded"] = channels_last(vae.decode(latent / vae.config.scaling_factor).sample)
        pixels = torch.from_numpy(numbers("pixels", 3 * 32 * 24).reshape(1, 3, 32, 24))
        moments = vae.encode(pixels).latent_dist
        out["mean"], out["deviation"] = (channels_last(x * vae.config.scaling_factor) for x in [moments.mean, moments.std])
        scheduler_noise(name)
        if name != "inpaint":
            common = dict(prompt=PROMPT, latents=normal("start", [1, 4, 8, 8]), output_type="np", height=64, width=64, num_inference_steps=4)
            if name == "lcm":
                image = pipe(**common, guidance_scale=7.5).images[0]
            else:
                image = pipe(**common, guidance_scale=5.0, negative_prompt=NEGATIVE).images[0]
            out["image"] = torch.from_numpy((image * 255).round().astype(np.uint8))
    save_file({key: value.contiguous() for key, value in out.items()}, folder / "outputs.safetensors")
    print(name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()), "bytes")
    return pipe


def tiny() -> None:
    folder = HERE / "taesd"
    model = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4)
    shapes = {"": fill("taesd", model)}
    write(folder, "config.json", json.loads(model.to_json_string()))
    (folder / "shapes.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n")
    with torch.no_grad():
        decoded = model.decode(normal("latent", [1, 4, 6, 5])).sample
        pixels = torch.from_numpy(numbers("pixels", 3 * 32 * 24).reshape(1, 3, 32, 24))
        encoded = model.encode(pixels).latents
    save_file({"decoded": channels_last(decoded), "mean": channels_last(encoded)}, folder / "outputs.safetensors")


def safety() -> None:
    """A safety checker with three images: what it says of each, and the thresholds between."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from diffusers.pipelines.stable_diffusion.safety_checker import cosine_distance
    from PIL import Image
    from transformers import CLIPConfig
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder = HERE / "safety"
    vision = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=32, patch_size=8)
    model = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=24))
    tensors = model.state_dict()
    # Version 5 of transformers leaves a prefix out in memory.
    old = {name: re.sub(r"^vision_model\.(?!vision_model\.)", "vision_model.vision_model.", name) for name in tensors if "position_ids" not in name}
    model.load_state_dict({name: weight(f"safety/{old[name]}", list(tensors[name].shape)) for name in old}, strict=False)
    model.eval()
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    write(folder, "config.json", json.loads(model.config.to_json_string()))
    write(folder, "preprocessor_config.json", json.loads(processor.to_json_string()))
    (folder / "shapes.json").write_text(json.dumps({"": {old[name]: list(tensors[name].shape) for name in old}}, separators=(",", ":")) + "\n")
    inputs = []
    for number, (height, width) in enumerate([(64, 64), (40, 96), (32, 32)]):
        pixels = ((numbers(f"safety/image/{number}", height * width * 3) + 1) * 127.5).astype(np.uint8).reshape(height, width, 3)
        # Less of one colour each, so that the three differ.
        pixels[..., number] //= 4
        inputs.append(processor(Image.fromarray(pixels), return_tensors="pt").pixel_values)
    inputs = torch.cat(inputs)
    with torch.no_grad():
        vectors = model.visual_projection(model.vision_model(inputs)[1])
        special, concepts = (cosine_distance(vectors, embeds) for embeds in (model.special_care_embeds, model.concept_embeds))
    # The first special concept is in one image only, and makes one more concept count there; another image has one by itself.
    care = int(special[:, 0].argmax())
    other = next(c for c in range(17) if int(concepts[:, c].argmax()) == care)
    alone = next(c for c in range(17) if int(concepts[:, c].argmax()) != care)
    thresholds = {"special_care_embeds": special.amax(0) + 0.05, "concept_embeds": concepts.amax(0) + 0.05}
    thresholds["special_care_embeds"][0] = special[:, 0].topk(2).values.mean()
    thresholds["concept_embeds"][other] = concepts[care, other] + 0.005
    thresholds["concept_embeds"][alone] = concepts[:, alone].topk(2).values.mean()
    out = {f"{name}_weights": value for name, value in thresholds.items()}
    for name, value in thresholds.items():
        getattr(model, f"{name}_weights").data = value
    verdicts = model(inputs, [np.ones((1, 1, 3))] * 3)[1]
    assert sorted(verdicts) == [False, True, True], verdicts
    out["special_care"], out["concepts"] = special - thresholds["special_care_embeds"], concepts - thresholds["concept_embeds"]
    out["verdicts"] = torch.tensor(verdicts, dtype=torch.uint8)
    save_file({key: value.contiguous() for key, value in out.items()}, folder / "outputs.safetensors")
    print("safety", verdicts)


SGM_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}


def lora_tensors(style: str, pipe) -> dict:
    """A LoRA over some layers of the UNet and the text encoder, with the names of a trainer: name → shape, or a number."""
    unet = pipe.unet.state_dict()
    text = {stored("text_encoder", name): value for name, value in pipe.text_encoder.state_dict().items()}
    front = "down_blocks.0.attentions.0.transformer_blocks.0"
    layers = [f"{front}.attn1.to_q", f"{front}.attn2.to_v", f"{front}.attn1.to_out.0", f"{front}.ff.net.0.proj",
              "down_blocks.0.attentions.1.proj_in", "up_blocks.1.resnets.0.conv1", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"]
    texts = ["text_model.encoder.layers.1.self_attn.q_proj", "text_model.encoder.layers.0.self_attn.out_proj", "text_model.encoder.layers.1.mlp.fc1"]
    if style == "old":
        layers = [layer for layer in layers if ".attn" in layer]
        texts = texts[:2]
    tensors, rank = {}, 3
    for where, all_layers, state in [("unet", layers, unet), ("text_encoder", texts, text)]:
        for layer in all_layers:
            found = [key for key in state if key.endswith(layer + ".weight")]
            shape = list(state[found[0]].shape)
            down, up = [rank, *shape[1:]], [shape[0], rank, *[1] * len(shape[2:])]
            if style in ("kohya", "sgm"):
                start = {"unet": "lora_unet_", "text_encoder": "lora_te_"}[where]
                name = sgm(layer) if style == "sgm" and where == "unet" else layer
                name = start + name.replace(".", "_")
                tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": 1.5}
            elif style == "peft":
                tensors |= {f"{where}.{layer}.lora_A.weight": down, f"{where}.{layer}.lora_B.weight": up}
            elif where == "unet":
                block, part = layer.replace(".to_out.0", ".to_out").rsplit(".", 1)
                tensors |= {f"unet.{block}.processor.{part}_lora.down.weight": down, f"unet.{block}.processor.{part}_lora.up.weight": up}
            else:
                part = layer.replace("q_proj", "to_q").replace("out_proj", "to_out")
                tensors |= {f"text_encoder.{part}_lora.down.weight": down, f"text_encoder.{part}_lora.up.weight": up}
    return tensors


def sgm(layer: str) -> str:
    """The name in a single-file checkpoint."""
    parts = layer.split(".")
    if parts[0] == "mid_block":
        if parts[1] == "attentions":
            return ".".join(["middle_block", "1", *parts[3:]])
        return ".".join(["middle_block", str(2 * int(parts[2])), SGM_RESNET[parts[3]], *parts[4:]])
    index = int(parts[1]) * 3 + int(parts[3])
    rest = parts[4:] if parts[2] == "attentions" else [SGM_RESNET[parts[4]], *parts[5:]]
    side, index = ("input_blocks", index + 1) if parts[0] == "down_blocks" else ("output_blocks", index)
    return ".".join([side, str(index), "1" if parts[2] == "attentions" else "0", *rest])


def checkpoint() -> None:
    """The names of a single-file checkpoint of sd1 and the tensors that they mean, as diffusers' own conversion says."""
    from diffusers.loaders import single_file_utils as single

    _, pipe = build("sd1", PIPELINES["sd1"])
    ends = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2"}
    names = {}
    for name in pipe.unet.state_dict():
        start, end = name.rsplit(".", 1)
        if start in ends:
            old = ends[start]
        elif "downsamplers" in start:
            old = f"input_blocks.{(int(start.split('.')[1]) + 1) * 3}.0.op"
        elif "upsamplers" in start:
            block = int(start.split(".")[1])
            has_attention = "CrossAttn" in pipe.unet.config.up_block_types[block]
            old = f"output_blocks.{block * 3 + 2}.{2 if has_attention else 1}.conv"
        else:
            old = sgm(start)
        names["model.diffusion_model." + f"{old}.{end}"] = ["unet", name]
    state = {old: torch.full([1], float(number)) for number, old in enumerate(names)}
    converted = single.convert_ldm_unet_checkpoint(state, dict(pipe.unet.config))
    order = list(names.values())
    assert {name: order[int(value.item())][1] for name, value in converted.items()} == {name: name for _, name in order}
    vae = {}
    attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
    for name in pipe.vae.state_dict():
        start, end = name.rsplit(".", 1)
        parts = start.split(".")
        if len(parts) == 1:
            old = start
        elif parts[1] == "mid_block":
            inner = f"block_{int(parts[3]) + 1}.{parts[4]}" if parts[2] == "resnets" else "attn_1." + attention[".".join(parts[4:])]
            old = f"{parts[0]}.mid.{inner}"
        elif parts[1] in ("down_blocks", "up_blocks"):
            side = parts[1][:-7]
            level = int(parts[2]) if side == "down" else 3 - int(parts[2])
            inner = f"block.{parts[4]}." + parts[5].replace("conv_shortcut", "nin_shortcut") if parts[3] == "resnets" else f"{side}sample.conv"
            old = f"{parts[0]}.{side}.{level}.{inner}"
        else:
            old = start.replace("conv_norm_out", "norm_out")
        vae[f"first_stage_model.{old}.{end}"] = ["vae", name]
    shapes = {name: value.shape for name, value in pipe.vae.state_dict().items()}
    state = {old: torch.full([*shapes[name]], float(number)) for number, (old, (_, name)) in enumerate(vae.items())}
    converted = single.convert_ldm_vae_checkpoint(state, dict(pipe.vae.config))
    order = list(vae.values())
    assert {name: order[int(value.flatten()[0].item())][1] for name, value in converted.items()} == {name: name for _, name in order}
    in_file = [stored("text_encoder", name) for name in pipe.text_encoder.state_dict() if "position_ids" not in name]
    text = {f"cond_stage_model.transformer.{name}": ["text_encoder", name] for name in in_file}
    (HERE / "checkpoint.json").write_text(json.dumps(names | vae | text, indent=0) + "\n")


def merge(model, state: dict, scale: float) -> None:
    """Adds scale · alpha / rank · up · down to the layers that a text encoder's LoRA means."""
    names = {stored("text_encoder", name).replace(".", "_"): value for name, value in model.state_dict().items()}
    for name, up in state.items():
        if not any(mark in name for mark in ["lora_up", "lora_B", "lora.up"]):
            continue
        down = state[name.replace("lora_up", "lora_down").replace("lora_B", "lora_A").replace("lora.up", "lora.down")]
        layer = name.removeprefix("lora_te_").removeprefix("text_encoder.")
        layer = layer.replace(".lora_up", "").replace(".lora_B", "").replace("_lora.up", "").replace(".", "_")
        layer = layer.replace("to_q", "q_proj").replace("to_out", "out_proj")
        alpha = state.get(name.removesuffix("lora_up.weight") + "alpha", len(down))
        names[layer].data += scale * alpha / len(down) * up @ down


def loras() -> None:
    folder = HERE / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    described, out = {}, {}
    for style in ["kohya", "sgm", "peft", "old"]:
        _, pipe = build("sd1", PIPELINES["sd1"])
        shapes = lora_tensors(style, pipe)
        described[style] = shapes
        state = {name: torch.tensor(shape) if isinstance(shape, float) else weight(f"lora/{name}", shape) for name, shape in shapes.items()}
        if style == "sgm":
            # diffusers reads these names for SDXL only, and as those that `checkpoint` has compared.
            state = dict(zip(lora_tensors("kohya", pipe), state.values(), strict=True))
        # transformers initialises the text encoder anew when it gets a LoRA, so there the sum is written out.
        of_text = {name: value for name, value in state.items() if "te_" in name[:9] or name.startswith("text_encoder.")}
        merge(pipe.text_encoder, of_text, 0.7)
        pipe.load_lora_weights({name: value for name, value in state.items() if name not in of_text}, adapter_name="a")
        pipe.fuse_lora(lora_scale=0.7)
        with torch.no_grad():
            encoded = pipe.encode_prompt(PROMPT, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)[0]
            out[f"{style}/prompt"] = encoded[0].contiguous()
            sample = pipe.unet(normal("latents", [2, 4, 6, 10])[:1], torch.tensor([981.0]), encoder_hidden_states=encoded).sample
            out[f"{style}/unet"] = channels_last(sample)
    (folder / "shapes.json").write_text(json.dumps(described, indent=1) + "\n")
    save_file(out, folder / "outputs.safetensors")


def schedulers() -> None:
    """Timesteps, sigmas and trajectories of every scheduler."""
    spaced = [dict(timestep_spacing=spacing) for spacing in ["leading", "linspace", "trailing"]]
    karras = [dict(use_karras_sigmas=True), dict(use_exponential_sigmas=True)]
    zero = [dict(rescale_betas_zero_snr=True, prediction_type="v_prediction", timestep_spacing="trailing")]
    others = [dict(beta_schedule="linear", beta_start=0.0001, beta_end=0.02), dict(beta_schedule="squaredcos_cap_v2")]
    predictions = [dict(prediction_type="v_prediction"), dict(prediction_type="sample")]
    variants = {
        "DDIMScheduler": [dict(s, clip_sample=False, steps_offset=1) for s in spaced] + zero + predictions + others + [dict(clip_sample=True, set_alpha_to_one=False)],
        "DDPMScheduler": [dict(s, clip_sample=False) for s in spaced] + zero + predictions + [dict(variance_type="fixed_large")],
        "PNDMScheduler": [dict(s, skip_prk_steps=True, steps_offset=1) for s in spaced] + [dict(skip_prk_steps=False), dict(prediction_type="v_prediction", skip_prk_steps=True)],
        "EulerDiscreteScheduler": [dict(s, steps_offset=1) for s in spaced] + karras + zero + predictions + others + [dict(final_sigmas_type="sigma_min")],
        "EulerAncestralDiscreteScheduler": spaced + zero + predictions[:1],
        "HeunDiscreteScheduler": spaced + karras + predictions,
        "DPMSolverMultistepScheduler": spaced + karras + zero + predictions
        + [dict(algorithm_type="sde-dpmsolver++"), dict(algorithm_type="sde-dpmsolver++", use_karras_sigmas=True, solver_type="heun"), dict(solver_order=3), dict(solver_order=3, algorithm_type="sde-dpmsolver++"), dict(solver_order=1), dict(solver_type="heun"),
           dict(euler_at_final=True, final_sigmas_type="sigma_min"), dict(lower_order_final=False, final_sigmas_type="sigma_min")],
        "UniPCMultistepScheduler": spaced + karras + zero + predictions + [dict(solver_order=3), dict(solver_type="bh1", final_sigmas_type="sigma_min"), dict(final_sigmas_type="sigma_min")],
        "LCMScheduler": [dict(), *predictions],
        "TCDScheduler": [dict(), *predictions],
        "FlowMatchEulerDiscreteScheduler": [dict(), dict(shift=3.0)],
    }
    described, out = [], {}
    for class_name, configs in variants.items():
        for number, config in enumerate(configs):
            key = f"{class_name}/{number}"
            betas = {} if class_name.startswith("Flow") else BETAS
            make = lambda: getattr(diffusers, class_name)(**{**betas, **config})  # noqa: E731
            described.append({"key": key, "config": json.loads(make().to_json_string().replace("-Infinity", "null"))})
            timesteps, sigmas, starts = [], [], []
            for steps in range(1, 51):
                scheduler = make()
                if config.get("skip_prk_steps") is False and steps < 4:
                    continue
                scheduler.set_timesteps(steps)
                timesteps.append(scheduler.timesteps.to(torch.float32))
                starts.append(float(scheduler.init_noise_sigma) if hasattr(scheduler, "init_noise_sigma") else 1.0)
                if hasattr(scheduler, "sigmas"):
                    sigmas.append(scheduler.sigmas.to(torch.float32))
            out[f"{key}/timesteps"] = torch.cat(timesteps)
            out[f"{key}/init"] = torch.tensor(starts)
            if sigmas:
                out[f"{key}/sigmas"] = torch.cat(sigmas)
            for steps in [5, 20]:
                out[f"{key}/trajectory{steps}"] = trajectory(make(), key, steps)
                out[f"{key}/noised{steps}"] = noised(make(), steps)
    (HERE / "schedulers.json").write_text("[\n" + ",\n".join(json.dumps(d) for d in described) + "\n]\n")
    save_file(out, HERE / "schedulers.safetensors")


def trajectory(scheduler, key: str, steps: int) -> torch.Tensor:
    scheduler_noise(f"{key}/{steps}")
    scheduler.set_timesteps(steps)
    sample = normal("sample", [1, 1, 1, 8]) * float(getattr(scheduler, "init_noise_sigma", 1.0))
    rows = []
    for number, t in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "scale_model_input"):
            scaled = scheduler.scale_model_input(sample, t)
        else:
            scaled = sample
        # An output that depends on the input, so that errors would grow.
        output = 0.5 * normal(f"output/{number}", [1, 1, 1, 8]) + 0.5 * torch.sin(scaled)
        sample = scheduler.step(output, t, sample).prev_sample
        rows.append(sample.flatten())
    return torch.stack(rows).to(torch.float32)


def noised(scheduler, steps: int) -> torch.Tensor:
    scheduler.set_timesteps(steps)
    original, noise = normal("original", [1, 1, 1, 8]), normal("noise", [1, 1, 1, 8])
    t = scheduler.timesteps[steps // 2].reshape(1)
    add = getattr(scheduler, "add_noise", None) or (lambda x, n, t: scheduler.scale_noise(x, t, n))
    return add(original, noise, t).flatten().to(torch.float32)


def randn() -> None:
    """torch's own noise."""
    out = {}
    for seed in [0, 42, 2**40 + 7]:
        generator = torch.Generator("cpu").manual_seed(seed)
        out[f"{seed}/first"] = torch.randn([1, 4, 8, 8], generator=generator)
        out[f"{seed}/second"] = torch.randn([1, 4, 3, 7], generator=generator)
        out[f"{seed}/third"] = torch.randn([1, 4, 8, 8], generator=generator)[0, :1, :2]
    save_file({key: value.contiguous() for key, value in out.items()}, HERE / "randn.safetensors")


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name, parts in PIPELINES.items():
        pipeline(name, parts)
    tiny()
    safety()
    schedulers()
    randn()
    checkpoint()
    loras()
