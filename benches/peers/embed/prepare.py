"""Makes what the peers load: `prepare.py MINILM_FOLDER OUTPUT_FOLDER`. All of it follows from the weights of
all-MiniLM-L6-v2, from ViT-B/32's configuration and from seeds."""

import json
import shutil
import sys
from pathlib import Path

import numpy
import torch
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from PIL import Image, ImageFilter
from transformers import BertModel, CLIPConfig, CLIPModel

import graphs
import openvino_models

FIRST, LAST = 49406, 49407


def quantised(folder: Path, name: str) -> None:
    """int8 by ONNX Runtime's own tool, a scale for each column: with one for each matrix, its default, the vectors come
    out with cosines of 0.9 only, and no sooner. The convolution of the patches stays as it is, which is faster."""
    quantize_dynamic(
        folder / f"{name}f32.onnx",
        folder / f"{name}int8.onnx",
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Attention", "EmbedLayerNormalization", "Gather"],
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )


def minilm(source: Path, target: Path) -> None:
    target.mkdir()
    model = BertModel.from_pretrained(source, dtype=torch.float32).eval()
    graphs.bert(model, target / "f32.onnx")
    quantised(target, "")
    openvino_models.save_minilm(model, target)
    fastembed = target / "fastembed"
    fastembed.mkdir()
    (fastembed / "model.onnx").symlink_to("../f32.onnx")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(source / name, fastembed)


def byte_letters() -> list[str]:
    """The letter that stands for each byte in a byte-level vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + at) for at, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def clip_tokenizer() -> dict:
    """CLIP's tokenizer with a vocabulary that knows letters only, filled up to the real one's size."""
    letters = byte_letters()
    names = letters + [f"{letter}</w>" for letter in letters]
    names += [f"<unused{number}>" for number in range(FIRST - len(names))] + ["<|startoftext|>", "<|endoftext|>"]
    special = [
        {"id": id, "content": names[id], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for id in (FIRST, LAST)
    ]
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ]},
        "post_processor": {
            "type": "RobertaProcessing", "sep": ["<|endoftext|>", LAST], "cls": ["<|startoftext|>", FIRST],
            "trim_offsets": False, "add_prefix_space": False,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {name: id for id, name in enumerate(names)}, "merges": [],
        },
    }


def clip(target: Path) -> None:
    text = {"bos_token_id": FIRST, "eos_token_id": LAST, "pad_token_id": LAST, "hidden_act": "quick_gelu"}
    config = CLIPConfig(text_config=text, vision_config={"patch_size": 32, "hidden_act": "quick_gelu"})
    torch.manual_seed(32)
    model = CLIPModel(config).eval()
    model.save_pretrained(target)
    (target / "tokenizer.json").write_text(json.dumps(clip_tokenizer(), ensure_ascii=False))
    (target / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
    }))
    (target / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "CLIPImageProcessor", "feature_extractor_type": "CLIPFeatureExtractor",
        "do_resize": True, "size": {"shortest_edge": 224}, "resample": 3,
        "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
        "do_rescale": True, "rescale_factor": 1 / 255, "do_convert_rgb": True,
        "do_normalize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }))
    graphs.clip_text(model, target / "text_f32.onnx")
    graphs.clip_image(model, target / "image_f32.onnx")
    for name in ("text_", "image_"):
        quantised(target, name)
    openvino_models.save_clip(model, target, FIRST, LAST)


def images(target: Path) -> None:
    """A photograph's stand-in: noise at several scales."""
    target.mkdir()
    chance = numpy.random.default_rng(32)

    def picture(width: int, height: int) -> Image.Image:
        layers = [Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=numpy.uint8)) for _ in range(2)]
        coarse = layers[0].resize((8, 8)).resize((width, height), Image.Resampling.BICUBIC)
        return Image.blend(coarse, layers[1].filter(ImageFilter.GaussianBlur(1)), 0.4)

    for number in range(16):
        picture(224, 224).save(target / f"{number:02}.bmp")
    picture(1280, 960).save(target / "photograph.jpg", quality=90)


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    source, target = map(Path, sys.argv[1:])
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    minilm(source, target / "minilm")
    clip(target / "clip")
    images(target / "images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
