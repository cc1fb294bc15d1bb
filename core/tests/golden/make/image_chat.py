#!/usr/bin/env python3
"""Makes core/conformance/models/images/, a Gemma 3 of a few kilobytes that says which colours the images of a conversation
have, and core/tests/golden/image_chat/, what transformers computes with it.

    python core/tests/golden/make/image_chat.py

requirements.txt beside this file names the versions. The model is trained here, from a seed, which takes a minute or two; other
machines may end with other weights. The folder looks as published ones do: shards, chat_template.json, and both files of the
processor. Its window of 12 tokens is shorter than the 16 tokens of an image, so that every rule of the mask shows.
"""

import json
import random
import shutil
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from scripted_chat import LETTERS, spelled
from transformers import (
    Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil, Gemma3Processor, PreTrainedTokenizerFast,
)

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "conformance" / "models" / "images"
GOLDEN = ROOT / "tests" / "golden" / "image_chat"
IMAGES = ROOT / "tests" / "golden" / "images"

COLOURS = {
    "red": (220, 30, 30), "green": (30, 180, 40), "blue": (30, 50, 220), "white": (245, 245, 245), "black": (12, 12, 12),
    "yellow": (240, 220, 30),
}
AND = " and "
SPECIAL = [
    "<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>",
]
SIDE, TOKENS = 32, 16
TEMPLATE = """
{{- bos_token -}}
{%- for message in messages -%}
<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}
{% if message.content is string %}{{ message.content | trim }}{% else %}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}<start_of_image>{%- else -%}{{ part.text | trim }}{%- endif -%}
{%- endfor -%}
{%- endif -%}<end_of_turn>
{% endfor -%}
{%- if add_generation_prompt -%}<start_of_turn>model
{% endif -%}
""".strip()


def write_tokenizer() -> PreTrainedTokenizerFast:
    words = list(LETTERS) + [spelled(word) for word in [*COLOURS, AND]]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": len(words) + at, "content": text, **plain} for at, text in enumerate(SPECIAL)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    write("tokenizer.json", {
        "version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "vocab": {word: at for at, word in enumerate(words)}, "merges": []},
    })
    of_images = {"boi_token": SPECIAL[5], "eoi_token": SPECIAL[6], "image_token": SPECIAL[7]}
    write("tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
        "extra_special_tokens": of_images, **of_images,
    })
    write("chat_template.json", {"chat_template": TEMPLATE})
    return PreTrainedTokenizerFast.from_pretrained(MODEL)


def write(name: str, value: object) -> None:
    (MODEL / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def new_model(tokenizer) -> Gemma3ForConditionalGeneration:
    ids = {text: tokenizer.convert_tokens_to_ids(text) for text in SPECIAL}
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "query_pre_attn_scalar": 16, "max_position_embeddings": 512, "sliding_window": 12,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
        "pad_token_id": ids["<pad>"], "bos_token_id": ids["<bos>"], "eos_token_id": ids["<eos>"],
    }
    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE,
        "patch_size": 4, "vision_use_head": False,
    }
    config = Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=TOKENS, boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"], image_token_index=ids["<image_soft_token>"],
        eos_token_id=[ids["<eos>"], ids["<end_of_turn>"]], pad_token_id=ids["<pad>"], bos_token_id=ids["<bos>"],
    )
    config._attn_implementation = "eager"
    config.text_config._attn_implementation = config.vision_config._attn_implementation = "eager"
    model = Gemma3ForConditionalGeneration(config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            parameter.data = (1 if "vision" in name and "norm" in name and name.endswith("weight") else 0) + 0.05 * noise
        elif "embed" in name and "patch" not in name:
            parameter.data = 0.2 * noise
        else:
            # The projector multiplies from the right.
            inputs = parameter.shape[0] if "projection_weight" in name else parameter[0].numel()
            parameter.data = noise / inputs**0.5
    return model


def content(images: int, text: str) -> list[dict]:
    return [{"type": "image"}] * images + [{"type": "text", "text": text}]


def conversation(chance: random.Random) -> tuple[list[dict], int, list[int]]:
    """Messages, how many images they have, and which of these the answer is about."""
    count = chance.choice([1, 1, 2])
    text = chance.choice(["Which colour?", "colour?", "Say what you see.", "And this?"])
    asked = list(range(count))
    if chance.random() < 0.6:
        return [{"role": "user", "content": content(count, text)}], count, asked
    before = chance.choice([0, 1])
    earlier = [{"role": "user", "content": content(before, "Which colour?") if before else "Hello"}]
    earlier.append({"role": "assistant", "content": chance.choice(list(COLOURS))})
    return [*earlier, {"role": "user", "content": content(count, text)}], before + count, [before + at for at in asked]


PROMPTS: dict[str, list[int]] = {}


def example(tokenizer, chance: random.Random, generator) -> tuple[list[int], list[int], list[torch.Tensor]]:
    messages, count, asked = conversation(chance)
    named = [chance.choice(list(COLOURS)) for _ in range(count)]
    pixels = []
    for name in named:
        colour = torch.tensor(COLOURS[name]) / 127.5 - 1
        shift, noise = torch.randn(3, 1, 1, generator=generator), torch.randn(3, SIDE, SIDE, generator=generator)
        pixels.append((colour[:, None, None] + 0.04 * shift + 0.05 * noise).clamp(-1, 1))
    key = json.dumps(messages)
    if key not in PROMPTS:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, chat_template=TEMPLATE)
        text = text.replace(SPECIAL[5], f"\n\n{SPECIAL[5]}{SPECIAL[7] * TOKENS}{SPECIAL[6]}\n\n")
        PROMPTS[key] = tokenizer(text, add_special_tokens=False).input_ids
    prompt = PROMPTS[key]
    pieces = [spelled(named[asked[0]])]
    for at in asked[1:]:
        pieces += [spelled(AND), spelled(named[at])]
    answer = [tokenizer.convert_tokens_to_ids(piece) for piece in [*pieces, "<end_of_turn>"]]
    return prompt, answer, pixels


def train(model, tokenizer, steps: int = 800, size: int = 16) -> None:
    chance, generator = random.Random(1), torch.Generator().manual_seed(2)
    token, pad = model.config.image_token_id, tokenizer.pad_token_id
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    model.train()
    for step in range(steps):
        batch = [example(tokenizer, chance, generator) for _ in range(size)]
        longest = max(len(prompt) + len(answer) for prompt, answer, _ in batch)
        ids, labels = torch.full((size, longest), pad), torch.full((size, longest), -100)
        for row, (prompt, answer, _) in enumerate(batch):
            ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        pixels = torch.stack([image for _, _, images in batch for image in images])
        logits = model(input_ids=ids, pixel_values=pixels, token_type_ids=(ids == token).long()).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 0 or step == steps - 1:
            print(f"step {step}: {loss.item():.4f}", flush=True)
    model.eval()


def picture(name: str) -> Image.Image:
    """A file of the goldens of images, or one colour."""
    if name in COLOURS:
        return Image.new("RGB", (40, 24), COLOURS[name])
    return Image.open(IMAGES / name).convert("RGB")


def user(*parts: str) -> dict:
    """A message; `@` is before the names of images."""
    shown = [{"type": "image", "image": part[1:]} if part.startswith("@") else {"type": "text", "text": part} for part in parts]
    return {"role": "user", "content": shown}


CASES = {
    "one": [user("@red", "Which colour?")],
    "two": [user("@blue", "@yellow", "Which colour?")],
    "between": [user("@rgb.png", "colour?", "@green", "And this?")],
    "second-turn": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "red"}, user("@white", "And this?")],
    "both-turns": [user("@black", "Which colour?"), {"role": "assistant", "content": "black"}, user("@rgb.png", "And this?")],
    "text": [{"role": "user", "content": "Which colour?"}],
}


def goldens(model, processor) -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    cases, tensors = [], {}
    for name, messages in CASES.items():
        parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
        names = [part["image"] for part in parts if part["type"] == "image"]
        text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = processor(text=text, images=[picture(name) for name in names] or None, return_tensors="pt", add_special_tokens=False)
        with torch.no_grad():
            logits = model(**{key: value for key, value in inputs.items() if key != "num_crops"}).logits[0]
            answer = model.generate(**{key: value for key, value in inputs.items() if key != "num_crops"}, max_new_tokens=8, do_sample=False)
            for at, image in enumerate(names):
                pixels = inputs["pixel_values"][at : at + 1]
                seen = model.get_image_features(pixels, return_dict=True)
                tensors[f"pixels/{image}"] = pixels[0].permute(1, 2, 0).contiguous()
                tensors[f"tower/{image}"], tensors[f"projected/{image}"] = seen.last_hidden_state[0], seen.pooler_output[0]
        ids = inputs["input_ids"][0]
        rows = [*range(0, len(ids), 5), len(ids) - 1]
        tensors[f"logits/{name}"] = logits[rows]
        said = processor.tokenizer.decode(answer[0][len(ids) :], skip_special_tokens=True)
        cases.append({"name": name, "messages": messages, "ids": ids.tolist(), "rows": rows, "answer": said})
        print(f"{name}: {len(ids)} tokens, {said!r}")
    (GOLDEN / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    save_file({key: tensor.float().contiguous() for key, tensor in tensors.items()}, GOLDEN / "numbers.safetensors")


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    shutil.rmtree(MODEL, ignore_errors=True)
    MODEL.mkdir(parents=True)
    tokenizer = write_tokenizer()
    model = new_model(tokenizer)
    train(model, tokenizer)
    model.to(torch.bfloat16).save_pretrained(MODEL, max_shard_size="60KB")
    # Read back, because speeds of rotation and the scale of embeddings were rounded too.
    model = Gemma3ForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
    image_processor = Gemma3ImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_pan_and_scan=None
    )
    processor = Gemma3Processor(image_processor, tokenizer, chat_template=TEMPLATE, image_seq_length=TOKENS)
    write("preprocessor_config.json", {**json.loads(image_processor.to_json_string()), "image_processor_type": "Gemma3ImageProcessor",
        "processor_class": "Gemma3Processor", "image_seq_length": TOKENS})
    write("processor_config.json", {"image_seq_length": TOKENS, "processor_class": "Gemma3Processor"})
    goldens(model, processor)
    print(sum(file.stat().st_size for file in MODEL.iterdir()) // 1000, "kB and", sum(f.stat().st_size for f in GOLDEN.iterdir()) // 1000, "kB")


if __name__ == "__main__":
    main()
