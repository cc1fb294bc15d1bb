#!/usr/bin/env python3
"""Writes core/tests/golden/images/: small image files, and what the reference libraries make of them; and the
picture of the benchmark, benches/data/1280x960.jpg.

    python -m venv VENV
    VENV/bin/pip install pillow==13.0.0 numpy==2.4.6 transformers==5.23.0 \
        torch==2.15.0 torchvision==0.29.2 open_clip_torch==3.3.0
    VENV/bin/python core/tests/golden/make/images.py

The tests read what is committed and need none of this.
"""

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image, ImageDraw, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

OUT = Path(__file__).resolve().parent.parent / "images"
PHOTO = OUT.parents[3] / "benches/data/1280x960.jpg"
SIZES = [(1, 1), (1, 9), (13, 1), (5, 7), (16, 16), (37, 29), (97, 61), (224, 224), (298, 224), (300, 451)]
FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]


def pattern(width, height):
    """Pixels that the tests make by the same rule: flat parts, edges and noise."""
    y, x, c = np.ogrid[:height, :width, :3]
    fine = (x * 7 + y * 13 + c * 29) ^ ((x * y) >> 3)
    coarse = ((x >> 4) + (y >> 3) + c) % 3 * 127
    values = np.where((x + y) // 24 % 2 == 0, fine, coarse) & 255
    return Image.fromarray(values.astype(np.uint8))


def scene(width, height):
    """Something that JPEG does well with."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)]
    picture = Image.fromarray(np.stack(planes, -1).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.ellipse([width // 5, height // 4, width // 2, height - 3], fill=(230, 40, 20), outline=(0, 0, 0))
    draw.rectangle([width // 2, 2, width - 4, height // 2], fill=(20, 90, 200))
    return picture


def reference(path):
    """The picture as RGB, upright, on white."""
    picture = Image.open(path)
    picture.seek(0)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        # Pillow's own conversion clips everything above 255; the upper byte is what it takes of 16-bit colours.
        return Image.fromarray((np.array(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def png(width, height, depth, colour, rows, *chunks):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    parts = [chunk(b"IHDR", header), *(chunk(*c) for c in chunks), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def exact_files():
    """Files of which there is one right decoding."""
    small = scene(24, 16)
    rng = np.random.default_rng(7)
    wide = rng.integers(0, 65536, (5, 7, 4), dtype=np.uint16)
    alpha = Image.fromarray(rng.integers(0, 256, (9, 11, 4), dtype=np.uint8))
    yield "rgb.png", encoded(small, "PNG")
    yield "grey.png", encoded(small.convert("L"), "PNG")
    yield "rgba.png", encoded(alpha, "PNG")
    # Every value with every alpha.
    values, alphas = np.meshgrid(np.arange(256), np.arange(256))
    grid = Image.fromarray(np.stack([values, alphas], -1).astype(np.uint8), "LA")
    yield "every_grey_and_alpha.png", encoded(grid, "PNG", optimize=True)
    yield "palette.png", encoded(small.quantize(16), "PNG")
    yield "palette_transparent.png", encoded(small.quantize(16), "PNG", transparency=3)
    yield "palette_alphas.png", encoded(small.quantize(8), "PNG", transparency=bytes([0, 40, 128, 200, 255]))
    yield "bits_1.png", encoded(small.convert("1"), "PNG")
    yield "bits_2.png", png(5, 2, 2, 0, [b"\x1b\x00", b"\xe4\x40"])
    yield "bits_4.png", png(5, 2, 4, 0, [b"\x01\x7f\x80", b"\xfe\xdc\x30"])
    yield "rgb_key.png", encoded(small, "PNG", transparency=small.getpixel((6, 8)))
    yield "grey_key.png", encoded(small.convert("L"), "PNG", transparency=small.convert("L").getpixel((6, 8)))
    for name, colour, channels in [("grey", 0, 1), ("rgb", 2, 3), ("grey_alpha", 4, 2), ("rgba", 6, 4)]:
        rows = [row[:, :channels].astype(">u2").tobytes() for row in wide]
        yield f"{name}_16.png", png(7, 5, 16, colour, rows)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "orientation_6.png", encoded(small, "PNG", exif=exif.tobytes())
    exif[0x0112] = 5
    yield "orientation_5.webp", encoded(small, "WEBP", lossless=True, exif=exif.tobytes())
    yield "lossless.webp", encoded(small, "WEBP", lossless=True)
    yield "lossless_alpha.webp", encoded(alpha, "WEBP", lossless=True, exact=True)
    frames = [scene(24, 16), ImageOps.mirror(scene(24, 16))]
    yield "animated.webp", encoded(frames[0], "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    yield "animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield "palette.gif", encoded(small.quantize(32), "GIF")
    yield "transparent.gif", encoded(small.quantize(8), "GIF", transparency=2)
    yield "interlaced.gif", encoded(small.quantize(8), "GIF", interlace=1)
    yield "rgb.bmp", encoded(small, "BMP")
    yield "grey.bmp", encoded(small.convert("L"), "BMP")
    yield "palette.bmp", encoded(small.quantize(16), "BMP")
    yield "bits_1.bmp", encoded(small.convert("1"), "BMP")
    yield "rgba.bmp", encoded(alpha, "BMP")


def near_files():
    """Files whose decoders may differ a little."""
    picture = scene(67, 45)
    yield "chroma_420.jpg", encoded(picture, "JPEG", quality=90, subsampling="4:2:0")
    yield "chroma_422.jpg", encoded(picture, "JPEG", quality=90, subsampling="4:2:2")
    yield "chroma_444.jpg", encoded(picture, "JPEG", quality=90, subsampling="4:4:4")
    yield "progressive.jpg", encoded(picture, "JPEG", quality=90, progressive=True)
    yield "restarts.jpg", encoded(picture, "JPEG", quality=90, restart_marker_blocks=3)
    yield "grey.jpg", encoded(picture.convert("L"), "JPEG", quality=90)
    yield "cmyk.jpg", encoded(picture.convert("CMYK"), "JPEG", quality=95)
    yield "lossy.webp", encoded(picture, "WEBP", quality=90)
    with_alpha = picture.convert("RGBA")
    with_alpha.putalpha(picture.convert("L"))
    yield "lossy_alpha.webp", encoded(with_alpha, "WEBP", quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"orientation_{orientation}.jpg", encoded(
            scene(24, 16), "JPEG", quality=95, subsampling="4:4:4", exif=exif.tobytes()
        )


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def decodings():
    for name, content in exact_files():
        path = OUT / name
        path.write_bytes(content)
        picture = reference(path)
        yield {"file": name, "width": picture.width, "height": picture.height, "sha256": digest(np.array(picture))}
    for name, content in near_files():
        path = OUT / name
        path.write_bytes(content)
        picture = reference(path)
        expected = path.with_name(path.name.replace(".", "_") + ".expected.png")
        picture.save(expected, optimize=True)
        yield {"file": name, "width": picture.width, "height": picture.height, "near": expected.name}


def resizings():
    for number, (width, height) in enumerate(SIZES):
        picture = pattern(width, height)
        for to_width, to_height in SIZES[number % 2 :: 2] + [(width, height), (2 * width, height), (width, 40)]:
            for name in FILTERS:
                resized = picture.resize((to_width, to_height), Image.Resampling[name.upper()])
                yield {
                    "from": [width, height], "to": [to_width, to_height],
                    "filter": name, "sha256": digest(np.array(resized)),
                }
    for to in [(298, 224), (224, 168), (640, 480), (1281, 333), (1500, 1100)]:
        for name in FILTERS:
            resized = pattern(1280, 960).resize(to, Image.Resampling[name.upper()])
            yield {"from": [1280, 960], "to": list(to), "filter": name, "sha256": digest(np.array(resized))}


TRANSFORMERS = {
    "clip": (CLIPImageProcessorPil, {"image_processor_type": "CLIPImageProcessor"}),
    "clip_openai": (
        CLIPImageProcessorPil,
        {
            "crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "resample": 3, "size": 224,
        },
    ),
    "clip_dicts": (
        CLIPImageProcessorPil,
        {
            "image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 60},
            "crop_size": {"height": 48, "width": 56}, "resample": 2, "rescale_factor": 0.00392156862745098,
            "image_mean": [0.1, 0.2, 0.3], "image_std": [1.5, 0.25, 0.125],
        },
    ),
    "crop_larger_than_size": (
        CLIPImageProcessorPil,
        {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 33}, "crop_size": 50},
    ),
    "crop_only": (
        CLIPImageProcessorPil,
        {"image_processor_type": "CLIPImageProcessor", "do_resize": False, "crop_size": 41, "do_normalize": False},
    ),
    "bytes": (
        CLIPImageProcessorPil,
        {"image_processor_type": "CLIPImageProcessor", "do_rescale": False, "do_normalize": False, "size": 32, "crop_size": 32},
    ),
    "no_rescale": (
        CLIPImageProcessorPil,
        {"image_processor_type": "CLIPImageProcessor", "do_rescale": False, "size": 32, "crop_size": 32},
    ),
    "siglip": (SiglipImageProcessorPil, {"image_processor_type": "SiglipImageProcessor"}),
    "siglip_384": (
        SiglipImageProcessorPil,
        {
            "do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor",
            "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 0.00392156862745098,
            "size": {"height": 384, "width": 384},
        },
    ),
}

OPEN_CLIP = {
    "open_clip": {"model_cfg": {"vision_cfg": {"image_size": 224}}, "preprocess_cfg": {}},
    "open_clip_spelt": {
        "model_cfg": {"vision_cfg": {"image_size": 224}},
        "preprocess_cfg": {
            "size": 63, "mode": "RGB", "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2],
            "interpolation": "bilinear", "resize_mode": "shortest", "fill_color": 0,
        },
    },
    "open_clip_squash": {
        "model_cfg": {"vision_cfg": {"image_size": 224}},
        "preprocess_cfg": {
            "size": [70, 50], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic", "resize_mode": "squash",
        },
    },
}
PICTURES = [(1280, 960), (97, 61), (61, 97), (300, 451), (64, 64), (230, 231), (20, 300)]


def preparations():
    for name, (kind, config) in TRANSFORMERS.items():
        processor = kind(**{key: value for key, value in config.items() if value is not None and "_type" not in key})
        for size in PICTURES:
            pixels = processor(images=pattern(*size), return_tensors=None)["pixel_values"][0]
            yield prepared(name, "transformers", config, size, np.moveaxis(np.asarray(pixels), 0, -1))
    for name, config in OPEN_CLIP.items():
        options = {"size": config["model_cfg"]["vision_cfg"]["image_size"], **config["preprocess_cfg"]}
        transform = image_transform_v2(PreprocessCfg(**options), is_train=False)
        for size in PICTURES:
            yield prepared(name, "open_clip", config, size, transform(pattern(*size)).permute(1, 2, 0).numpy())


def prepared(name, kind, config, size, pixels):
    values = np.ascontiguousarray(pixels.astype("<f4"))
    return {
        "name": name, "kind": kind, "config": config, "from": list(size),
        "height": values.shape[0], "width": values.shape[1], "sha256": digest(values),
        "first": [float(value) for value in values.reshape(-1)[:3]],
    }


def photo(width, height):
    """As much detail as a photograph: gradients, edges and grain."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(x / 97 + c) * 90 + np.cos(y / 61 + 2 * c) * np.sin(x / 33 + y / 45) * 60 for c in range(3)]
    values = np.stack(planes, -1) + 128
    for _ in range(60):
        left, top, radius = rng.integers(width), rng.integers(height), rng.integers(10, 120)
        disc = (x - left) ** 2 + (y - top) ** 2 < radius**2
        values[disc] = values[disc] * 0.4 + rng.integers(0, 256, 3) * 0.6
    values += rng.normal(0, 5, (height, width, 1))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def main():
    PHOTO.parent.mkdir(exist_ok=True)
    photo(1280, 960).save(PHOTO, quality=80)
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for name, cases in [("decode", decodings()), ("resize", resizings()), ("prepare", preparations())]:
        lines = ",\n".join(json.dumps(case) for case in cases)
        (OUT / f"{name}.json").write_text(f"[\n{lines}\n]\n")
    print(f"{sum(path.stat().st_size for path in OUT.iterdir())} bytes in {OUT}")


if __name__ == "__main__":
    main()
