"""Trains tiny:clip: a CLIP of 1.7 million parameters on drawings and their captions in English and Spanish.

    python clip.py OUT [--epochs 80] [--fold 0]

Writes the layout of transformers (`CLIPModel`), in 16 bits. `--fold 1` trains on other drawings: the judge of tiny:image.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

import drawings as source

# Drawings are rendered larger than the model takes them, and shifted, turned and scaled into its pixels.
RENDERED = 80
WIDTH = 128
VOCABULARY = 4096
WINDOW = 32
START, END = "<|startoftext|>", "<|endoftext|>"
# Things at a time: two drawings of each, and a caption in each language.
BATCH = 64
# Patches of an image that are seen, of 64, until this part of the training is over.
KEPT_PATCHES, WHOLE_FROM = 28, 0.9
FRAMES = {
    "english": ("{}", "{}", "{}", "a {}", "the {}", "a drawing of {}", "picture of a {}", "{} emoji"),
    "spanish": ("{}", "{}", "{}", "un {}", "una {}", "el {}", "la {}", "un dibujo de {}", "imagen de {}"),
}


def tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte pairs of captions, without case and accents, so that `nino` finds what `niño` does."""
    inner = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>"))
    inner.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    inner.decoder = decoders.BPEDecoder(suffix="</w>")
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[START, END], end_of_word_suffix="</w>", initial_alphabet=letters,
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    start, end = inner.token_to_id(START), inner.token_to_id(END)
    inner.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", pair=f"{START} $A {END} {START} $B {END}", special_tokens=[(START, start), (END, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=START, eos_token=END, unk_token=END, pad_token=END, model_max_length=WINDOW
    )


def config(words: PreTrainedTokenizerFast, size: int) -> CLIPConfig:
    shared = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4, "hidden_act": "gelu"}
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    return CLIPConfig(
        text_config={**shared, **ids, "num_hidden_layers": 2, "vocab_size": len(words), "max_position_embeddings": WINDOW},
        vision_config={**shared, "num_hidden_layers": 4, "image_size": size, "patch_size": size // 8},
        projection_dim=WIDTH,
    )


def caption(drawing: source.Drawing, language: str, dice: random.Random) -> str:
    """A way to ask for a drawing: mostly its label, sometimes what it is tagged with."""
    label = getattr(drawing, language)
    tags = list(getattr(drawing, f"{language}_tags"))
    dice.shuffle(tags)
    draw = dice.random()
    if draw < 0.75 or not tags:
        return dice.choice(FRAMES[language]).format(label)
    if draw < 0.90:
        return f"{label} {tags[0]}"
    return " ".join(tags[: dice.randint(1, 3)])


def augmented(images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Shifted, turned, scaled and set on a background, which is white more often than not: `[image, 3, size, size]` in [-1, 1]."""
    images = functional.interpolate(images.float(), size * RENDERED // 64, mode="bilinear", antialias=True) if size < 64 else images
    count = len(images)

    def spread(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    angle, scale = spread(-0.12, 0.12), spread(0.9, 1.15)
    rotation = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], 1).view(-1, 2, 2)
    shift = torch.stack([spread(-0.08, 0.08), spread(-0.08, 0.08)], 1)[..., None]
    grid = functional.affine_grid(torch.cat([rotation * scale.view(-1, 1, 1), shift], 2), [count, 4, size, size], align_corners=False)
    rgba = functional.grid_sample(images.float() / 255, grid, align_corners=False)
    colour, alpha = rgba[:, :3], rgba[:, 3:]
    grey = colour.mean(1, keepdim=True)
    # Sometimes hardly any colour, always somewhat others: the sets colour things as they like.
    saturation = torch.where(spread(0, 1) < 0.15, spread(0, 0.3), spread(0.6, 1.3)).view(-1, 1, 1, 1)
    tint = 1 + 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    colour = (grey + (colour - grey) * saturation) * tint
    colour = ((colour - 0.5) * spread(0.7, 1.2).view(-1, 1, 1, 1) + 0.5 + spread(-0.1, 0.1).view(-1, 1, 1, 1)).clamp(0, 1)
    background = torch.rand(count, 3, 1, 1, generator=generator)
    kind = torch.rand(count, 1, 1, 1, generator=generator)
    background = torch.where(kind < 0.80, torch.ones(()), torch.where(kind < 0.87, torch.zeros(()), background))
    return (colour * alpha + background * (1 - alpha)) * 2 - 1


def on_white(images: torch.Tensor, size: int) -> torch.Tensor:
    """Drawings as a user has them: `[image, 3, size, size]` in [-1, 1]."""
    rgba = functional.interpolate(images.float() / 255, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return (rgba[:, :3] * rgba[:, 3:] + 1 - rgba[:, 3:]) * 2 - 1


def drop_patches(model: CLIPModel, kept: int, generator: torch.Generator):
    """Has the image tower see only some patches of each image: half the work, and no harm if the end of the training sees all."""

    def some(_module, _inputs, states: torch.Tensor) -> torch.Tensor:
        order = torch.rand(len(states), states.shape[1] - 1, generator=generator).argsort(1)[:, :kept] + 1
        chosen = states.gather(1, order[..., None].expand(-1, -1, states.shape[2]))
        return torch.cat([states[:, :1], chosen], 1)

    return model.vision_model.embeddings.register_forward_hook(some)


def features(found) -> torch.Tensor:
    found = found if isinstance(found, torch.Tensor) else found.pooler_output
    return functional.normalize(found.float(), dim=-1)


def texts_of(model: CLIPModel, words: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    return features(model.get_text_features(**words(texts, padding=True, truncation=True, return_tensors="pt")))


def contrast(vectors: torch.Tensor, things: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Every drawing and caption of a thing shall find the others of it, among all of the batch: drawings find captions, and
    the same thing drawn in the other style."""
    scores = (scale * vectors @ vectors.T).fill_diagonal_(float("-inf"))
    same = (things[:, None] == things[None, :]).float().fill_diagonal_(0)
    found = functional.log_softmax(scores, 1).masked_fill(same == 0, 0)
    return -(found.sum(1) / same.sum(1).clamp(min=1)).mean()


@torch.no_grad()
def evaluate(model: CLIPModel, words: PreTrainedTokenizerFast, held_out: list[source.Drawing], images: torch.Tensor) -> dict:
    """How often the asked drawing is the first, and among the first five, of all that were held out."""
    model.eval()
    pictures = torch.cat([features(model.get_image_features(part)) for part in on_white(images, model.config.vision_config.image_size).split(128)])
    concepts = [drawing.concept for drawing in held_out]
    found = {"drawings": len(held_out)}
    for language in ("english", "spanish"):
        queries = texts_of(model, words, [getattr(drawing, language) for drawing in held_out])
        best = (queries @ pictures.T).topk(5).indices.tolist()
        ranks = [[concepts[place] == concepts[row] for place in places] for row, places in enumerate(best)]
        found[language] = {
            "first": round(sum(rank[0] for rank in ranks) / len(ranks), 3),
            "among five": round(sum(any(rank) for rank in ranks) / len(ranks), 3),
        }
    model.train()
    return found


def is_held_out(drawing: source.Drawing, fold: int) -> bool:
    if fold == 0:
        return drawing.held_out
    origin = source.VERSIONS.get(drawing.source, drawing.source)
    digest = hashlib.sha256(f"fold {fold} {origin} {drawing.concept}".encode()).digest()
    return digest[0] % source.HELD_OUT_OF == 0


def train(epochs: int, fold: int, batch_size: int, top_rate: float, size: int, before: Path | None) -> tuple[CLIPModel, PreTrainedTokenizerFast, dict]:
    torch.manual_seed(20 + fold)
    torch.set_num_threads(1)
    generator, dice = torch.Generator().manual_seed(21 + fold), random.Random(22 + fold)
    everything = source.load(versions=True)
    images = torch.from_numpy(source.rendered(everything, RENDERED))
    mine = [place for place, drawing in enumerate(everything) if not is_held_out(drawing, fold)]
    rest = [place for place, drawing in enumerate(everything) if is_held_out(drawing, fold) and not drawing.is_version]
    held_out = [everything[place] for place in rest]
    own = [everything[place] for place in mine]
    words = PreTrainedTokenizerFast.from_pretrained(before) if before else tokenizer([text for one in own for text in (one.english, one.spanish, *one.english_tags, *one.spanish_tags)])
    # Written-out attention and 16 bits: the quickest on one core.
    if before:
        model = CLIPModel.from_pretrained(before, attn_implementation="eager", dtype=torch.float32).train()
    else:
        model = CLIPModel._from_config(config(words, size), attn_implementation="eager")
    # Few drawings need no cautious start: the first layers may move at once.
    decayed = [value for value in model.parameters() if value.dim() > 1]
    plain = [value for value in model.parameters() if value.dim() <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=top_rate, betas=(0.9, 0.98))
    things: dict[str, list[int]] = {}
    for place in mine:
        things.setdefault(everything[place].concept, []).append(place)
    groups = list(things.values())
    steps = epochs * (len(groups) // batch_size)
    print(f"{len(mine)} drawings to train on, {len(rest)} held out, {steps} steps, {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    start, step = time.process_time(), 0
    for epoch in range(epochs):
        dropping = drop_patches(model, KEPT_PATCHES, generator) if epoch < WHOLE_FROM * epochs else None
        dice.shuffle(groups)
        for first in range(0, len(groups) - batch_size + 1, batch_size):
            batch = groups[first : first + batch_size]
            rate = top_rate * min(1.0, (step + 1) / 60) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * step / steps)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            # Two drawings of each, in any of their styles.
            batch = [dice.sample(places, min(2, len(places))) for places in batch]
            drawn = [place for places in batch for place in places]
            asked = [caption(everything[places[0]], language, dice) for language in FRAMES for places in batch]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                pictures = features(model.get_image_features(augmented(images[drawn], size, generator)))
                texts = texts_of(model, words, asked)
            number = torch.tensor([thing for thing, places in enumerate(batch) for _ in places] + [*range(batch_size)] * len(FRAMES))
            loss = contrast(torch.cat([pictures, texts]), number, model.logit_scale.exp().clamp(max=60))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step += 1
        if dropping:
            dropping.remove()
        if epoch % 4 == 3 or epoch + 1 == epochs:
            seconds = time.process_time() - start
            print(f"epoch {epoch + 1} loss {loss.item():.3f} {seconds:.0f} CPU-s {evaluate(model, words, held_out, images[rest])}", flush=True)
    model = model.half().float().eval()
    return model, words, evaluate(model, words, held_out, images[rest])


def save(model: CLIPModel, words: PreTrainedTokenizerFast, figures: dict, out: Path) -> None:
    model.half().save_pretrained(out)
    words.save_pretrained(out)
    size = model.config.vision_config.image_size
    half = [0.5, 0.5, 0.5]
    CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, image_mean=half, image_std=half
    ).save_pretrained(out)
    for extra in ("special_tokens_map.json", "processor_config.json"):
        (out / extra).unlink(missing_ok=True)
    rows = [["captions", "the drawing is first", "among the first five"]]
    rows += [[language, *(f"{100 * share:.1f} %" for share in figures[language].values())] for language in ("english", "spanish")]
    parameters = f"{sum(value.numel() for value in model.parameters()) / 1e6:.2f} million"
    source.write_card(
        "clip", out, rows, PARAMETERS=parameters, DRAWINGS=len(source.load(versions=True)), HELD_OUT=figures["drawings"],
        SECONDS=round(time.process_time()),
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--epochs", type=int, default=80)
    arguments.add_argument("--fold", type=int, default=0)
    arguments.add_argument("--from", dest="before", type=Path, help="goes on from such a model")
    arguments.add_argument("--batch", type=int, default=BATCH)
    arguments.add_argument("--size", type=int, default=64, help="pixels of a side, 64 patches in all")
    arguments.add_argument("--rate", type=float, default=2e-3)
    given = arguments.parse_args()
    model, words, figures = train(given.epochs, given.fold, given.batch, given.rate, given.size, given.before)
    save(model, words, figures, given.out)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
