#!/usr/bin/env python3
"""Makes core/tests/golden/pickles: state dicts as torch writes them, and what is in them. Run again only to add a case;
the results are committed and need no library.

Made with torch 2.15.0 and transformers 5.23.0 on Python 3.11:

    python core/tests/golden/make/pickles.py

`clip/` has the files of openai/clip-vit-base-patch32's branch `main`: no safetensors. The others are state dicts of every
kind of tensor, in torch's present layout and in the one before 1.6, with their numbers in expected.json.
"""

import collections
import json
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

GOLDEN = Path(__file__).resolve().parent.parent
HERE = GOLDEN / "pickles"


def tensors() -> dict:
    """Every way in which a tensor may lie in its storage."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tied = torch.linspace(-1, 1, 10).reshape(5, 2)
    return {
        "whole": base,
        "transposed": base.t(),
        "rows": base[1:3],
        "columns": base[:, 2:5],
        "permuted": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4).permute(2, 0, 1),
        "half": base.to(torch.float16),
        "bfloat16": base.to(torch.bfloat16),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base * 2),
        "tied.a": tied,
        "tied.b": tied,
        "ids": torch.arange(7),
        "flags": torch.tensor([True, False]),
        "double": base.double(),
        "größe": torch.ones(1),
    }


def write_views() -> None:
    state = collections.OrderedDict(tensors())
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    torch.save(state, HERE / "views.bin")
    torch.save(state, HERE / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "loss": 0.25, "state_dict": state, "history": [1, 2]}, HERE / "checkpoint.bin")
    is_read = lambda x: x.dtype in (torch.float32, torch.float16, torch.bfloat16)  # noqa: E731
    numbers = {name: {"shape": list(x.shape), "numbers": x.float().flatten().tolist()} for name, x in state.items() if is_read(x)}
    (HERE / "expected.json").write_text(json.dumps(numbers, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_tokenizer(folder: Path) -> None:
    """A vocabulary of 64 for a few words."""
    letters = "acdfghopt"
    merges = ["o f</w>", "c a", "ca t</w>", "d o", "do g</w>", "p h", "ph o", "pho t", "phot o</w>"]
    words = [*letters, *(letter + "</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    words += [f"filler{number}" for number in range(62 - len(words))]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, separators=(",", ":")) + "\n")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = {"unk_token": "<|endoftext|>", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special) + "\n")
    config = {**special, "add_prefix_space": False, "errors": "replace", "do_lower_case": True, "model_max_length": 16}
    config["tokenizer_class"] = "CLIPTokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    CLIPTokenizer.from_pretrained(folder).backend_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def write_clip() -> None:
    folder = HERE / "clip"
    folder.mkdir(exist_ok=True)
    config = json.loads((GOLDEN / "clip/openai/config.json").read_text())
    model = CLIPModel(CLIPConfig(**config)).eval()
    weights = {name: x.float() for name, x in load_file(GOLDEN / "clip/openai/model.safetensors").items()}
    model.load_state_dict(weights, strict=False)
    state = model.state_dict()
    # Buffers that were part of state dicts then.
    state["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    torch.save({name: x.half() if x.is_floating_point() else x for name, x in state.items()}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    processor = {
        "crop_size": 32, "do_center_crop": True, "do_normalize": True, "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 32,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")
    write_tokenizer(folder)
    tokenizer, images = CLIPTokenizer.from_pretrained(folder), CLIPImageProcessorPil.from_pretrained(folder)
    vector = lambda found: torch.nn.functional.normalize(getattr(found, "pooler_output", found)[0], dim=0).tolist()  # noqa: E731
    expected = {"texts": [], "images": []}
    with torch.no_grad():
        for text in ("a photo of a cat", "Dog", "a Photo  of a dog"):
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            found = vector(model.get_text_features(ids))
            expected["texts"].append({"text": text, "ids": ids[0].tolist(), "vector": found})
        pixels = images(Image.open(GOLDEN / "images/rgb.png").convert("RGB"), return_tensors="pt")["pixel_values"]
        expected["images"].append({"image": "rgb.png", "vector": vector(model.get_image_features(pixels))})
    (HERE / "clip-expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    write_views()
    write_clip()
