#!/usr/bin/env python3
"""Makes the golden models of core/tests/golden/clip: small seeded CLIP and SigLIP models, and what the reference
libraries compute with them. Run again only to add a case; the results are committed and need no library.

Made with torch 2.15.0, transformers 5.23.0, open_clip_torch 3.3.0 on Python 3.11:

    python core/tests/golden/make/clip.py

A folder holds a model's own config, its weights, and cases.json: token ids with the features that they give, and the
features of images whose pixels `pixels` below computes (and the Rust test too).
"""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

HERE = Path(__file__).resolve().parent.parent / "clip"
IMAGES = 3


def pixels(count: int, height: int, width: int) -> np.ndarray:
    """Numbers in [-2, 2) that every language computes the same: [image, height, width, channel]."""
    index = np.arange(count * height * width * 3, dtype=np.uint64)
    hashed = (index * np.uint64(2654435761)) % np.uint64(2**32) >> np.uint64(8)
    return (hashed.astype(np.float32) / np.float32(2**22) - np.float32(2)).reshape(count, height, width, 3)


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights that keep signals near one, so that every part of the model shows in the result; exact in bf16."""
    generator = torch.Generator().manual_seed(seed)
    norms = {id(p) for m in model.modules() if isinstance(m, torch.nn.LayerNorm) for p in [m.weight]}
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if id(parameter) in norms:
            values = 1 + 0.2 * noise
        elif "logit" in name:
            values = noise
        elif "embedding" in name and parameter.dim() < 4 or name.endswith("probe"):
            values = 0.5 * noise
        elif parameter.dim() == 1:
            values = 0.1 * noise
        else:
            # open_clip multiplies from the left by its projections, so their inputs are the first dimension.
            fan_in = parameter.shape[0] if name in ("text_projection", "visual.proj") else parameter[0].numel()
            values = noise / fan_in**0.5
        parameter.data = values.to(torch.bfloat16).to(torch.float32)


def padded(texts: list[list[int]], pad: int, length: int) -> list[list[int]]:
    return [text + [pad] * (length - len(text)) for text in texts]


def write(name: str, model, config_file: str, config: dict, weights_file: str, texts: dict, encode, images) -> None:
    folder = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / config_file).write_text(json.dumps(config, indent=1) + "\n")
    state = {key: value.to(torch.bfloat16).contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / weights_file, metadata={"format": "pt"})
    cases = []
    with torch.no_grad():
        for style, rows in texts.items():
            # Texts of one length at a time, so that nothing is padded that the style does not pad.
            features = [encode(torch.tensor([row]))[0].tolist() for row in rows]
            if len({len(row) for row in rows}) == 1:
                together = encode(torch.tensor(rows))
                assert torch.allclose(together, torch.tensor(features), atol=1e-4), f"{name}: {style}"
            cases.append({"style": style, "ids": rows, "features": rounded(features)})
        found = images()
    out = {"texts": cases, "images": {"size": list(found[0]), "features": rounded(found[1].tolist())}}
    (folder / "cases.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print(name, sum(file.stat().st_size for file in folder.iterdir()), "bytes")


def rounded(rows):
    return [[float(f"{value:.8g}") for value in row] for row in rows]


def features(result) -> torch.Tensor:
    """What the features are, whatever the version wraps them in."""
    return result if isinstance(result, torch.Tensor) else result.pooler_output


def clip_texts(bos: int, eot: int, window: int, extra: list[list[int]]) -> dict:
    """Every way in which texts reach a CLIP."""
    bodies = [[5, 9, 31], [7], list(range(1, window - 1)), []]
    plain = [[bos, *body, eot] for body in bodies] + extra
    return {
        "unpadded": plain,
        "padded with the end of text": padded(plain, eot, window),
        "padded with 0": padded(plain, 0, window),
        "padded with 1 to the longest of three": padded([plain[0], plain[1], plain[3]], 1, 5),
    }


def clip(name: str, seed: int, config: dict, extra=(), change=None) -> None:
    """A CLIP of transformers. `change` makes an older config of the same model."""
    model = CLIPModel(CLIPConfig(**config)).eval()
    randomise(model, seed)
    text, vision = model.config.text_config, model.config.vision_config
    size = vision.image_size

    def images():
        nchw = torch.from_numpy(pixels(IMAGES, size, size)).permute(0, 3, 1, 2).contiguous()
        return (size, size), features(model.get_image_features(nchw))

    texts = clip_texts(62, 63, text.max_position_embeddings, [list(row) for row in extra])
    written = {"model_type": "clip", "architectures": ["CLIPModel"], **(change or (lambda c: c))(config)}
    encode = lambda ids: features(model.get_text_features(ids))  # noqa: E731
    write(name, model, "config.json", written, "model.safetensors", texts, encode, images)


def native(name: str, seed: int, config: dict, extra=()) -> None:
    """A CLIP of open_clip."""
    model = open_clip.CLIP(**config).eval()
    randomise(model, seed)
    height, width = model.visual.image_size

    def images():
        nchw = torch.from_numpy(pixels(IMAGES, height, width)).permute(0, 3, 1, 2).contiguous()
        return (height, width), model.encode_image(nchw)

    window = config["text_cfg"]["context_length"]
    texts = clip_texts(62, 63, window, [list(row) for row in extra])
    # open_clip's model takes whole windows only.
    texts = {style: rows for style, rows in texts.items() if style in ("padded with the end of text", "padded with 0")}
    written = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    write(name, model, "open_clip_config.json", written, "open_clip_model.safetensors", texts, model.encode_text, images)


def siglip(name: str, seed: int, config: dict, pad: int) -> None:
    model = SiglipModel(SiglipConfig(**config)).eval()
    randomise(model, seed)
    size, window = model.config.vision_config.image_size, model.config.text_config.max_position_embeddings

    def images():
        nchw = torch.from_numpy(pixels(IMAGES, size, size)).permute(0, 3, 1, 2).contiguous()
        return (size, size), features(model.get_image_features(nchw))

    rows = [[5, 9, 31, 2], [7, 2], list(range(1, window + 1)), [2]]
    texts = {"padded to the window": padded(rows, pad, window)}
    written = {"model_type": "siglip", "architectures": ["SiglipModel"], **config}
    encode = lambda ids: features(model.get_text_features(ids))  # noqa: E731
    write(name, model, "config.json", written, "model.safetensors", texts, encode, images)


def text(**more) -> dict:
    return {"vocab_size": 70, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 16, **more}


def vision(**more) -> dict:
    return {"hidden_size": 40, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 5,
            "image_size": 32, "patch_size": 8, **more}


def old_style(config: dict) -> dict:
    """As the first CLIP repositories have it: the towers twice, of which `*_config_dict` counts."""
    towers = {"text_config_dict": config["text_config"], "vision_config_dict": config["vision_config"]}
    wrong = {"text_config": {"hidden_size": 8, "hidden_act": "gelu"}, "vision_config": {"hidden_size": 8}}
    return {"projection_dim": config["projection_dim"], **towers, **wrong}


def main() -> None:
    torch.set_num_threads(1)
    # OpenAI's: quick GELU by default, and an end of text that says 2 and means the highest id.
    openai = {"projection_dim": 24, "text_config": text(eos_token_id=2, vocab_size=64), "vision_config": vision()}
    clip("openai", 1, openai)
    # LAION's: GELU by the error function, the true end of text, ids above it, and the older config.
    laion = {
        "projection_dim": 40,
        "text_config": text(hidden_act="gelu", eos_token_id=63, layer_norm_eps=1e-3),
        "vision_config": vision(hidden_act="gelu", hidden_size=32, intermediate_size=80, num_attention_heads=2,
                                image_size=36, num_hidden_layers=3),
    }
    clip("laion", 2, laion, extra=[[62, 66, 12, 69, 63], [62, 68, 63, 69, 63]], change=old_style)

    towers = {
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 40, "head_width": 8, "patch_size": 8, "mlp_ratio": 2.0},
        "text_cfg": {"context_length": 16, "vocab_size": 64, "width": 32, "heads": 4, "layers": 2, "mlp_ratio": 2.0},
    }
    native("open-clip-quick-gelu", 3, {"embed_dim": 24, "quick_gelu": True, **towers})
    other = {
        "embed_dim": 40,
        "vision_cfg": {**towers["vision_cfg"], "image_size": [24, 40], "no_ln_pre": True, "norm_kwargs": {"eps": 1e-3}},
        "text_cfg": {**towers["text_cfg"], "vocab_size": 70, "pool_type": "eos", "eos_id": 63},
    }
    native("open-clip-gelu", 4, other, extra=[[62, 66, 12, 69, 63]])

    small = vision(hidden_size=32, intermediate_size=72, num_attention_heads=4)
    siglip("siglip", 5, {"text_config": text(vocab_size=64), "vision_config": small}, pad=1)
    narrow = text(vocab_size=64, hidden_size=24, num_attention_heads=3, projection_size=32)
    siglip("siglip2", 6, {"text_config": narrow, "vision_config": {**small, "image_size": 44}}, pad=0)


if __name__ == "__main__":
    main()
