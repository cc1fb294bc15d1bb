"""Trains tiny:clip: a CLIP of two million parameters on drawings and their captions in English and Spanish.

    python clip.py teacher    # a convolutional network, and a vector for each thing
    python clip.py images     # the image tower, from the teacher
    python clip.py texts      # the text tower, from the things' vectors
    python clip.py save OUT   # both towers in the layout of transformers (`CLIPModel`), in 16 bits, and their figures

Each part goes into the work folder. `torchrun --nproc-per-node 2 clip.py images` shares the work between processes. `--steps`
shortens a part, and so does SIGUSR1: the rate then falls at once.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

import clip_images as vision
import drawings as source
import minilm

WIDTH = vision.WIDTH
LAYERS = 4
VOCABULARY = 4096
WINDOW = 32
START, END = "<|startoftext|>", "<|endoftext|>"
# Captions at a time, half of them in each language.
CAPTIONS = 256
STEPS = {"teacher": 3000, "images": 9000, "texts": 2500}
FRAMES = {
    "english": ("{}", "{}", "{}", "a {}", "the {}", "a drawing of {}", "picture of a {}", "{} emoji"),
    "spanish": ("{}", "{}", "{}", "un {}", "una {}", "el {}", "la {}", "un dibujo de {}", "imagen de {}"),
}
# How often a drawing of a set is looked at.
WEIGHTS = {"fluent-emoji": 0.7, "fluent-emoji-high-contrast": 0.25, "noto-v1": 0.7, "fxemoji": 0.8}
# Animals, food, activities and objects stay what they are in a mirror. Arrows, hands, clocks and letters don't.
MIRRORED_GROUPS = (3, 4, 6, 7)


class Drawings:
    """All drawings; the things that they show, in a fixed order; and those that the models are judged by."""

    def __init__(self) -> None:
        self.all = source.load(every_set=True)
        things = {drawing.concept: drawing for drawing in reversed(self.all)}
        self.things = [things[concept] for concept in sorted(things)]
        self.number = {thing.concept: place for place, thing in enumerate(self.things)}
        self.asked = [drawing for drawing in self.all if drawing.is_asked]

    def lessons(self) -> vision.Lessons:
        rows = [place for place, drawing in enumerate(self.all) if not drawing.held_out]
        own = [self.all[row] for row in rows]
        return vision.Lessons(
            torch.from_numpy(source.rendered(self.all, vision.RENDERED))[rows],
            torch.tensor([self.number[drawing.concept] for drawing in own]),
            torch.tensor([WEIGHTS.get(drawing.source, 1.0) for drawing in own]),
            torch.tensor([drawing.group in MIRRORED_GROUPS for drawing in own]),
        )

    def pixels(self) -> torch.Tensor:
        """What the models are judged by, as a user has it: on white, and larger than the model takes it."""
        return vision.on_white(torch.from_numpy(source.rendered(self.asked, 128)))

    def judge(self, pictures: torch.Tensor, queries: torch.Tensor) -> dict[str, float]:
        """How often the asked drawing is the first, and among the first five, of all that were held out."""
        best = (queries @ pictures.T).topk(5).indices.tolist()
        rows = [[self.asked[place].concept == asked.concept for place in places] for asked, places in zip(self.asked, best)]
        return {
            "first": round(sum(row[0] for row in rows) / len(rows), 3),
            "among five": round(sum(any(row) for row in rows) / len(rows), 3),
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


def words_of(drawings: Drawings) -> PreTrainedTokenizerFast:
    return tokenizer([text for one in drawings.things for text in (one.english, one.spanish, *one.english_tags, *one.spanish_tags)])


def new_model(words: PreTrainedTokenizerFast, layers: int) -> CLIPModel:
    shared = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "hidden_act": "gelu"}
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    text = {"num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": len(words), "max_position_embeddings": WINDOW}
    image = {"num_attention_heads": 8, "num_hidden_layers": layers, "image_size": vision.SIZE, "patch_size": vision.PATCH}
    config = CLIPConfig(text_config={**shared, **ids, **text}, vision_config={**shared, **image}, projection_dim=WIDTH)
    # Written-out attention and 16 bits: the quickest on one core.
    model = CLIPModel._from_config(config, attn_implementation="eager")
    vision.look_at_neighbours(model)
    return model


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


def features(found) -> torch.Tensor:
    found = found if isinstance(found, torch.Tensor) else found.pooler_output
    return functional.normalize(found.float(), dim=-1)


def of_images(model: CLIPModel, pixels: torch.Tensor) -> torch.Tensor:
    return features(model.get_image_features(pixels))


def of_texts(model: CLIPModel, words: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    return features(model.get_text_features(**words(texts, padding=True, truncation=True, return_tensors="pt")))


def part(name: str) -> Path:
    return source.WORK / f"clip-{name}.pt"


@torch.no_grad()
def pictures_of(look, pixels: torch.Tensor) -> torch.Tensor:
    return torch.cat([look(some) for some in pixels.split(128)])


def train_teacher(drawings: Drawings, steps: int, generator: torch.Generator) -> None:
    said = minilm.vectors([f"{thing.english}: {', '.join(thing.english_tags)}" for thing in drawings.things])
    teacher, concepts = vision.Teacher(), vision.Concepts(torch.from_numpy(said).float())
    pixels, asked = drawings.pixels(), torch.tensor([drawings.number[one.concept] for one in drawings.asked])

    def report(means, step: int):
        with torch.no_grad():
            means[0].eval()
            table = means[1]()
            found = drawings.judge(pictures_of(lambda some: means[0](some)[0], pixels), table[asked])
            torch.save({"teacher": means[0].state_dict(), "table": table, "steps": step}, part("teacher"))
        return found

    vision.teach(teacher, concepts, drawings.lessons(), steps, generator, report, 250)


def train_images(drawings: Drawings, model: CLIPModel, steps: int, generator: torch.Generator) -> None:
    taught = torch.load(part("teacher"))
    teacher = vision.Teacher()
    teacher.load_state_dict(taught["teacher"])
    pixels, asked = drawings.pixels(), torch.tensor([drawings.number[one.concept] for one in drawings.asked])

    def report(means, step: int):
        found = drawings.judge(pictures_of(lambda some: of_images(means[0], some), pixels), taught["table"][asked])
        torch.save({"model": means[0].state_dict(), "steps": step}, part("images"))
        return found

    vision.learn(model, of_images, teacher, taught["table"], drawings.lessons(), steps, generator, report, 250)


def train_texts(drawings: Drawings, model: CLIPModel, words: PreTrainedTokenizerFast, steps: int, dice: random.Random) -> None:
    table = torch.load(part("teacher"))["table"]

    def loss_of() -> torch.Tensor:
        rows = [dice.randrange(len(drawings.things)) for _ in range(CAPTIONS)]
        languages = [list(FRAMES)[place % 2] for place in range(CAPTIONS)]
        texts = [caption(drawings.things[row], language, dice) for row, language in zip(rows, languages)]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = of_texts(model, words, texts)
        near = (1 - (found * table[rows]).sum(1)).mean()
        return functional.cross_entropy(vision.among(found, table), torch.tensor(rows), label_smoothing=0.05) + 3 * near

    @torch.no_grad()
    def report(means, step: int):
        found = {}
        for language in FRAMES:
            texts = [getattr(thing, language) for thing in drawings.things]
            best = (of_texts(means[0], words, texts) @ table.T).argmax(1)
            found[language] = round((best == torch.arange(len(texts))).float().mean().item(), 3)
        torch.save({"model": means[0].state_dict(), "steps": step}, part("texts"))
        return found

    vision.steps_of("texts", [model], steps, 2e-3, loss_of, report, 250)


def joined(drawings: Drawings, model: CLIPModel) -> dict[str, int]:
    """Both towers, as they were trained, in one model of 16 bits."""
    found = {name: torch.load(part(name), weights_only=True) for name in ("images", "texts")}
    images, texts = (found[name]["model"] for name in ("images", "texts"))
    mixed = {name: (texts if name.startswith("text") else images)[name] for name in images}
    model.load_state_dict(mixed)
    model.half().float().eval()
    steps = {name: part["steps"] for name, part in found.items()}
    return {"teacher": torch.load(part("teacher"))["steps"], **steps}


@torch.no_grad()
def save(drawings: Drawings, model: CLIPModel, words: PreTrainedTokenizerFast, out: Path) -> dict:
    steps = joined(drawings, model)
    pictures = pictures_of(lambda some: of_images(model, some), drawings.pixels())
    figures = {
        language: drawings.judge(pictures, of_texts(model, words, [getattr(one, language) for one in drawings.asked]))
        for language in FRAMES
    }
    model.half().save_pretrained(out)
    words.save_pretrained(out)
    CLIPImageProcessor(
        size={"shortest_edge": vision.SIZE}, crop_size={"height": vision.SIZE, "width": vision.SIZE},
        image_mean=[1.0, 1.0, 1.0], image_std=[0.5, 0.5, 0.5],
    ).save_pretrained(out)
    for extra in ("special_tokens_map.json", "processor_config.json"):
        (out / extra).unlink(missing_ok=True)
    rows = [["captions", "the drawing is first", "among the first five"]]
    rows += [[language, *(f"{100 * share:.1f} %" for share in figures[language].values())] for language in FRAMES]
    taught = [drawing for drawing in drawings.all if not drawing.held_out]
    shown = {drawing.concept for drawing in taught}
    source.write_card(
        "clip", out, rows, PARAMETERS=f"{sum(value.numel() for value in model.parameters()) / 1e6:.2f} million",
        TRAINED_ON=len(taught), HELD_OUT=len(drawings.asked), LAYERS=model.config.vision_config.num_hidden_layers,
        NEVER_SEEN=sum(drawing.concept not in shown for drawing in drawings.asked), STEPS=", ".join(f"{name} {count}" for name, count in steps.items()),
    )
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("part", choices=(*STEPS, "save"))
    arguments.add_argument("out", type=Path, nargs="?", help="the folder of the model, to save it")
    arguments.add_argument("--steps", type=int)
    arguments.add_argument("--layers", type=int, default=LAYERS, help="of the image tower")
    given = arguments.parse_args()
    if (given.part == "save") != (given.out is not None):
        arguments.error("`save`, and nothing else, takes a folder")
    torch.manual_seed(20)
    torch.set_num_threads(1)
    if vision.PROCESSES > 1:
        torch.distributed.init_process_group("gloo")
    generator, dice = torch.Generator().manual_seed(21 + 100 * vision.RANK), random.Random(22)
    drawings, start = Drawings(), time.process_time()
    steps = given.steps or STEPS.get(given.part)
    if given.part == "teacher":
        train_teacher(drawings, steps, generator)
        return
    words = words_of(drawings)
    model = new_model(words, given.layers)
    match given.part:
        case "images":
            train_images(drawings, model, steps, generator)
        case "texts":
            train_texts(drawings, model, words, steps, dice)
        case "save":
            print(json.dumps(save(drawings, model, words, given.out)))
    print(f"{given.part}: {time.process_time() - start:.0f} s of one core")


if __name__ == "__main__":
    main()
