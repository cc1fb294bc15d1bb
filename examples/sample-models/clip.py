"""Trains tiny:clip: a CLIP of two million parameters on drawings and their captions in English and Spanish.

    python clip.py train    # into the work folder; `torchrun --nproc-per-node 2 clip.py train` shares it between processes
    python clip.py save OUT # in the layout of transformers (`CLIPModel`), in 16 bits, with its figures

Every thing has a vector of its own. Drawings and captions learn to find that of theirs among those of all things.
`--steps` shortens the training, and so does SIGUSR1: the rate then falls at once.
"""

from __future__ import annotations

import argparse
import json
import random
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
STEPS = 3600
TRAINED = source.WORK / "clip.pt"
# Two trainings of byte pairs may number them differently: the model is saved with those that it was trained with.
WORDS = source.WORK / "clip-words"
FRAMES = {
    "english": ("{}", "{}", "{}", "a {}", "the {}", "a drawing of {}", "picture of a {}", "{} emoji"),
    "spanish": ("{}", "{}", "{}", "un {}", "una {}", "el {}", "la {}", "un dibujo de {}", "imagen de {}"),
}
# How often a drawing of a set is looked at.
WEIGHTS = {"fluent-emoji": 0.7, "fluent-emoji-high-contrast": 0.4, "noto-v1": 0.7, "fxemoji": 0.8}
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
        self.taught = source.taught(self.all, vision.RENDERED)

    def lessons(self) -> vision.Lessons:
        own = [self.all[row] for row in self.taught]
        return vision.Lessons(
            torch.from_numpy(source.rendered(self.all, vision.RENDERED))[self.taught],
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


def new_model(words: PreTrainedTokenizerFast) -> CLIPModel:
    shared = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "hidden_act": "gelu"}
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    text = {"num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": len(words), "max_position_embeddings": WINDOW}
    image = {"num_attention_heads": 8, "num_hidden_layers": LAYERS, "image_size": vision.SIZE, "patch_size": vision.PATCH}
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


def captions_loss(drawings: Drawings, words: PreTrainedTokenizerFast, model: CLIPModel, table: torch.Tensor, dice: random.Random) -> torch.Tensor:
    rows = [dice.randrange(len(drawings.things)) for _ in range(vision.BATCH)]
    languages = [list(FRAMES)[place % 2] for place in range(vision.BATCH)]
    found = of_texts(model, words, [caption(drawings.things[row], language, dice) for row, language in zip(rows, languages)])
    near = (1 - (found * table[rows]).sum(1)).mean()
    return functional.cross_entropy(vision.among(found, table), torch.tensor(rows), label_smoothing=0.05) + 2 * near


def train(drawings: Drawings, words: PreTrainedTokenizerFast, model: CLIPModel, steps: int, generator: torch.Generator, dice: random.Random) -> None:
    said = minilm.vectors([f"{thing.english}: {', '.join(thing.english_tags)}" for thing in drawings.things])
    concepts = vision.Concepts(torch.from_numpy(said).float())
    asked, pixels = vision.Asked(drawings.lessons(), len(drawings.things), generator), drawings.pixels()

    def loss_of() -> torch.Tensor:
        table = concepts()
        some, columns = asked.some()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = of_images(model, some)
            told = captions_loss(drawings, words, model, table.detach(), dice)
        return asked.loss(found, columns, table) + 8 * concepts.own.square().sum(1).mean() + told

    def report(means, step: int):
        torch.save({"model": means[0].state_dict(), "steps": step}, TRAINED)
        return figures(drawings, words, means[0], pixels)

    modules = [model, concepts]
    dropping: list = []

    def before_first() -> None:
        dropping.append(vision.drop_patches(model, generator))

    vision.steps_of(modules, steps, 2e-3, loss_of, report, before_first, lambda: dropping[0].remove())


@torch.no_grad()
def figures(drawings: Drawings, words: PreTrainedTokenizerFast, model: CLIPModel, pixels: torch.Tensor) -> dict:
    pictures = torch.cat([of_images(model, some) for some in pixels.split(128)])
    return {
        language: drawings.judge(pictures, of_texts(model, words, [getattr(one, language) for one in drawings.asked]))
        for language in FRAMES
    }


@torch.no_grad()
def save(drawings: Drawings, words: PreTrainedTokenizerFast, model: CLIPModel, out: Path) -> dict:
    trained = torch.load(TRAINED)
    model.load_state_dict(trained["model"])
    found = figures(drawings, words, model.half().float().eval(), drawings.pixels())
    model.half().save_pretrained(out)
    words.save_pretrained(out)
    CLIPImageProcessor(
        size={"shortest_edge": vision.SIZE}, crop_size={"height": vision.SIZE, "width": vision.SIZE},
        image_mean=[1.0, 1.0, 1.0], image_std=[0.5, 0.5, 0.5],
    ).save_pretrained(out)
    for extra in ("special_tokens_map.json", "processor_config.json"):
        (out / extra).unlink(missing_ok=True)
    rows = [["captions", "the drawing is first", "among the first five"]]
    rows += [[language.capitalize(), *(f"{100 * share:.1f} %" for share in found[language].values())] for language in FRAMES]
    shown = {drawings.all[place].concept for place in drawings.taught}
    source.write_card(
        "clip", out, rows, PARAMETERS=f"{sum(value.numel() for value in model.parameters()) / 1e6:.2f} million",
        TRAINED_ON=len(drawings.taught), HELD_OUT=len(drawings.asked), LAYERS=model.config.vision_config.num_hidden_layers,
        NEVER_SEEN=sum(drawing.concept not in shown for drawing in drawings.asked), STEPS=trained["steps"],
    )
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("part", choices=("train", "save"))
    arguments.add_argument("out", type=Path, nargs="?", help="the folder of the model, to save it")
    arguments.add_argument("--steps", type=int, default=STEPS)
    given = arguments.parse_args()
    if (given.part == "save") != (given.out is not None):
        arguments.error("`save`, and nothing else, takes a folder")
    torch.manual_seed(20)
    torch.set_num_threads(1)
    if vision.PROCESSES > 1:
        torch.distributed.init_process_group("gloo")
    generator, dice = torch.Generator().manual_seed(21 + 100 * vision.RANK), random.Random(22 + 100 * vision.RANK)
    drawings = Drawings()
    if given.part == "train" and vision.RANK == 0:
        words_of(drawings).save_pretrained(WORDS)
    if vision.PROCESSES > 1:
        torch.distributed.barrier()
    words = PreTrainedTokenizerFast.from_pretrained(WORDS)
    model = new_model(words)
    if given.part == "train":
        train(drawings, words, model, given.steps, generator, dice)
    else:
        print(json.dumps(save(drawings, words, model, given.out)))


if __name__ == "__main__":
    main()
