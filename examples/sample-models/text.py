"""Makes tiny:text: a vector a word, distilled from all-MiniLM-L6-v2, for English and Spanish.

    python text.py OUT [--steps 3000]

The teacher knows English. A Spanish caption learns the vector of its English twin, so that both languages share one
space. Writes the layout of sentence-transformers' `StaticEmbedding`, in 16 bits, and the pairs that it is judged by.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from pathlib import Path

import numpy
import torch
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer
from torch.nn import functional

import drawings as source
import minilm
import prose
import words

HERE = Path(__file__).resolve().parent
WIDTH = 96
# The directions that all texts of a kind share.
COMMON = 2
BATCH, PAIRS = 512, 256
PAIRS_A_CLASS = 150
# How much the words that the teacher knows stay where it has them, and how much pairs that belong together count.
KEEP, TOGETHER = 0.1, 0.2
TEMPERATURE = 0.07


def is_held_out(name: str, of: int) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % of == 0


def concepts() -> list[source.Drawing]:
    return list({drawing.concept: drawing for drawing in source.load()}.values())


def tags_of(one: source.Drawing, language: str) -> str:
    return " ".join(getattr(one, f"{language}_tags"))


class Lessons:
    """What is read with the English text whose vector it shall have, and pairs that belong together; captions and prose."""

    def __init__(self, taught: list[source.Drawing], blocks: list[str], dice: random.Random) -> None:
        self.captions: list[tuple[str, str]] = []
        self.caption_pairs: list[tuple[str, str]] = []
        for one in taught:
            self.add_captions(one, dice)
        for spanish, english in source.more_captions({one.concept for one in taught}):
            self.captions += [(spanish, english), (english, english)]
        for line in (HERE / "pairs.tsv").read_text(encoding="utf-8").splitlines():
            spanish, english = line.split("\t")
            self.captions += [(spanish, english)] * 4 + [(english, english)]
        self.prose_pairs = [prose.halves(block) for block in blocks]
        self.prose = [(half, half) for pair in self.prose_pairs for half in pair]

    def add_captions(self, one: source.Drawing, dice: random.Random) -> None:
        english, spanish = list(one.english_tags), list(one.spanish_tags)
        found = [(one.english, one.english), (one.spanish, one.english)] * 2 + [(tag, tag) for tag in english]
        for _ in range(3):
            dice.shuffle(english)
            dice.shuffle(spanish)
            some = f"{one.english} {' '.join(english[:2])}".strip()
            found += [(some, some), (f"{one.spanish} {' '.join(spanish[:2])}".strip(), some)]
        if english and spanish:
            found.append((tags_of(one, "spanish"), tags_of(one, "english")))
            self.caption_pairs += [(one.english, tags_of(one, "english")), (one.spanish, tags_of(one, "spanish"))]
        self.captions += found


def judged(everything: list[source.Drawing], pages: list[list[list[str]]], dice: random.Random) -> list[tuple[str, str, str, int, str, str]]:
    """Pairs of texts that were not trained on: which set, both texts, how near they are by what they come from, and the
    same pair in English, which is what the teacher reads."""
    held_out = [one for one in everything if one.english_tags and one.spanish_tags]

    def two(fits):
        one, other = dice.sample(held_out, 2)
        return (one, other, False) if fits(one, other) else None

    def same():
        one = dice.choice(held_out)
        return one, one, True

    def some(page: list[list[str]]) -> str:
        return dice.choice(prose.halves(dice.choice(dice.choice(page))))

    def of_section():
        section = dice.choice(dice.choice(pages))
        return tuple(dice.choice(prose.halves(block)) for block in dice.sample(section, 2)) if len(section) > 1 else None

    def of_page():
        return tuple(dice.choice(prose.halves(dice.choice(section))) for section in dice.sample(dice.choice(pages), 2))

    def chosen(choose) -> list:
        taken = {}
        for _ in range(50 * PAIRS_A_CLASS):
            pair = choose()
            if pair and len(taken) < PAIRS_A_CLASS:
                taken[pair] = None
        return list(taken)

    found = []
    for near, choose in (
        (3, same),
        (2, lambda: two(lambda a, b: a.subgroup == b.subgroup)),
        (1, lambda: two(lambda a, b: a.group == b.group and a.subgroup != b.subgroup)),
        (0, lambda: two(lambda a, b: a.group != b.group)),
    ):
        for one, other, is_same in chosen(choose):
            texts = {
                language: (getattr(one, language), tags_of(one, language) if is_same else getattr(other, language))
                for language in ("english", "spanish")
            }
            found += [(f"captions, {language}", *pair, near, *texts["english"]) for language, pair in texts.items()]
    for near, choose in (
        (3, lambda: prose.halves(dice.choice(dice.choice(dice.choice(pages))))),
        (2, of_section),
        (1, of_page),
        (0, lambda: tuple(some(page) for page in dice.sample(pages, 2))),
    ):
        found += [("paragraphs", *pair, near, *pair) for pair in chosen(choose)]
    return sorted(found)


def cosines(vectors, pairs: list[tuple[str, str]]) -> numpy.ndarray:
    one, other = (vectors([pair[side] for pair in pairs]) for side in (0, 1))
    return (one * other).sum(1)


def scores(student: SentenceTransformer, pairs: list) -> tuple[dict, list[float]]:
    """Spearman's correlation with how near the texts are, of both models, for each set and for all of them in one; and
    the teacher's cosine of each pair. Of Spanish pairs the teacher reads the English twins."""
    of_teacher = [float(cosine) for cosine in cosines(minilm.vectors, [pair[4:6] for pair in pairs])]
    of_student = cosines(lambda some: student.encode(some, normalize_embeddings=True, show_progress_bar=False), [pair[1:3] for pair in pairs])
    found = {}
    for name in (*dict.fromkeys(pair[0] for pair in pairs), "all in one"):
        rows = [place for place, pair in enumerate(pairs) if name in (pair[0], "all in one")]
        truth = [pairs[place][3] for place in rows]
        ours = float(spearmanr([of_student[place] for place in rows], truth).statistic)
        theirs = float(spearmanr([of_teacher[place] for place in rows], truth).statistic)
        found[name] = {"pairs": len(rows), "tiny:text": round(ours, 3), "MiniLM": round(theirs, 3), "kept": round(ours / theirs, 3)}
    return found, of_teacher


class Table:
    """The vectors of words that are trained."""

    def __init__(self, inner: Tokenizer, targets: list[str]) -> None:
        tokens = [token for token, _ in sorted(inner.get_vocab().items(), key=lambda entry: entry[1])]
        known = minilm.vectors(targets + [token.removeprefix("##") for token in tokens])
        # The first directions say that something is a caption, or a sentence of documentation, and hide what it is about.
        # Those after them keep what the products of the teacher's vectors say.
        projection = numpy.linalg.svd(known[: len(targets)], full_matrices=False)[2][COMMON : COMMON + WIDTH].T
        short = functional.normalize(torch.from_numpy(known @ projection).float(), dim=1)
        self.inner, self.targets = inner, short[: len(targets)]
        self.target_of = {text: place for place, text in enumerate(targets)}
        start = short[len(targets) :].clone()
        # Frequent words say little: their vectors start short. Pieces of words say nothing alone.
        rank = torch.arange(len(start), dtype=torch.float32)
        start *= (rank / (rank + 1000)).clamp(min=0.02)[:, None]
        english = minilm.model().tokenizer.get_vocab()
        is_piece = torch.tensor([[float(token.startswith("##"))] for token in tokens])
        self.is_known = torch.tensor([[float(token in english)] for token in tokens]) * (1 - is_piece)
        self.start = start * (0.2 + 0.8 * self.is_known)
        self.weight = torch.nn.Parameter(self.start.clone())
        self.ids: dict[str, torch.Tensor] = {}

    def of(self, texts: list[str]) -> torch.Tensor:
        for text in texts:
            if text not in self.ids:
                self.ids[text] = torch.tensor(self.inner.encode(text, add_special_tokens=False).ids, dtype=torch.long)
        ids = [self.ids[text] for text in texts]
        offsets = torch.tensor([0, *(len(one) for one in ids[:-1])]).cumsum(0)
        return functional.normalize(functional.embedding_bag(torch.cat(ids), self.weight, offsets), dim=1)

    def like_the_teacher(self, lessons: list[tuple[str, str]]) -> torch.Tensor:
        found = self.of([text for text, _ in lessons])
        wanted = self.targets[[self.target_of[target] for _, target in lessons]]
        alike = ((found @ found.T - wanted @ wanted.T) ** 2).mean()
        return (1 - (found * wanted).sum(1)).mean() + 10 * alike

    def together(self, pairs: list[tuple[str, str]]) -> torch.Tensor:
        """Each finds its other among all of them."""
        one, other = (self.of([pair[side] for pair in pairs]) for side in (0, 1))
        found, own = one @ other.T / TEMPERATURE, torch.arange(len(pairs))
        return (functional.cross_entropy(found, own) + functional.cross_entropy(found.T, own)) / 2

    def away(self) -> torch.Tensor:
        """What the teacher says of a word alone is worth keeping: a text that was not trained on has nothing else."""
        return (((self.weight - self.start) * self.is_known) ** 2).sum() / len(self.start)


def train(table: Table, lessons: Lessons, steps: int, dice: random.Random) -> None:
    optimiser = torch.optim.Adam([table.weight], lr=0.01)
    # Captions among captions and sentences among sentences: in a mixed batch nothing tells sentences apart.
    kinds = [(lessons.captions, lessons.caption_pairs), (lessons.prose, lessons.prose_pairs)]
    for step in range(steps):
        taught, pairs = kinds[step % 2]
        loss = table.like_the_teacher(dice.sample(taught, min(BATCH, len(taught)))) + KEEP * table.away()
        loss = loss + TOGETHER * table.together(dice.sample(pairs, min(PAIRS, len(pairs))))
        optimiser.param_groups[0]["lr"] = 0.01 * (1 - step / steps) + 1e-4
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 500 < 2:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--steps", type=int, default=3000)
    given = arguments.parse_args()
    torch.manual_seed(31)
    torch.set_num_threads(1)
    everything, pages = concepts(), prose.pages()
    unseen = [one for one in everything if is_held_out(one.concept, source.HELD_OUT_OF)]
    unseen_pages = {name for name in pages if is_held_out(name, prose.HELD_OUT_OF)}
    blocks = [block for name, page in pages.items() if name not in unseen_pages for section in page for block in section]
    taught = [one for one in everything if one not in unseen]
    lessons = Lessons(taught, [*blocks, *prose.of_python()], random.Random(32))
    read = [text for text, _ in (*lessons.captions, *lessons.prose)]
    targets = list(dict.fromkeys(target for _, target in (*lessons.captions, *lessons.prose)))
    # Words of Python's documentation that the teacher does not know are names.
    own = [text for text, _ in lessons.captions] + blocks
    table = Table(words.vocabulary(minilm.model().tokenizer.get_vocab(), own), targets)
    print(f"{len(table.start)} tokens, {len(read)} lessons, {len(targets)} texts for the teacher", flush=True)
    train(table, lessons, given.steps, random.Random(34))
    static = StaticEmbedding(table.inner, embedding_weights=table.weight.detach().half())
    SentenceTransformer(modules=[static, Normalize()], device="cpu").save(str(given.out), create_model_card=False)
    student = SentenceTransformer(str(given.out), device="cpu")
    pairs = judged(unseen, [page for name, page in pages.items() if name in unseen_pages and len(page) > 2], random.Random(33))
    figures, of_teacher = scores(student, pairs)
    columns = ["pairs", "tiny:text", "MiniLM", "kept"]
    rows = [["set", *columns], *([name, *(found[column] for column in columns)] for name, found in figures.items())]
    source.write_card("text", given.out, rows, TOKENS=len(table.start), SECONDS=round(time.process_time()))
    lines = ["\t".join((*pair[:3], str(pair[3]), f"{cosine:.4f}")) for pair, cosine in zip(pairs, of_teacher)]
    (given.out / "judged.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
