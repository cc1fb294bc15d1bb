"""Makes tiny:text: a vector a word, distilled from all-MiniLM-L6-v2, for English and Spanish.

    python text.py OUT [--teacher FOLDER] [--epochs 15]

The teacher knows English. A Spanish caption learns the vector of its English twin, so that both languages share one
space. Writes the layout of sentence-transformers' `StaticEmbedding`, in 16 bits, and the pairs that it is judged by.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import time
import unicodedata
from pathlib import Path

import numpy
import torch
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch.nn import functional

import drawings as source

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
WIDTH = 96
# The directions that all texts of a kind share.
COMMON = 2
# The teacher's vocabulary is in the order of frequency.
ENGLISH_WORDS, ENGLISH_PIECES = 9_000, 1_500
BATCH = 512
PAIRS_A_CLASS = 150
# How much the words that the teacher knows stay where it has them.
KEEP = 0.1
# One page of five is never trained on.
PAGES_OF = 5


def plain(text: str) -> str:
    """As the tokenizer has it: lower case, without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", plain(text))


def is_held_out(name: str, of: int) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % of == 0


def concepts() -> list[source.Drawing]:
    return list({drawing.concept: drawing for drawing in source.load()}.values())


def paragraphs() -> dict[str, list[list[str]]]:
    """The sections of each page of this repository's documentation, each a list of paragraphs."""
    found = {}
    for path in sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("**/*.md")]):
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "").replace("*", "")
        sections = []
        for section in re.split(r"^#+ .*$", text, flags=re.M):
            blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n|\n- ", section)]
            sections.append([block for block in blocks if len(block.split()) >= 16 and not block.startswith(("|", "<"))])
        found[path.relative_to(REPOSITORY).as_posix()] = [section for section in sections if section]
    return found


def halves(paragraph: str) -> tuple[str, str]:
    words = paragraph.split()
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])


def vocabulary(teacher: SentenceTransformer, texts: list[str]) -> Tokenizer:
    """The teacher's most frequent words and pieces, and every word of the texts, Spanish ones among them."""
    own = sorted(teacher.tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    is_word = re.compile(r"[a-z0-9]{2,}").fullmatch
    english = [word for word, _ in own if is_word(word)][:ENGLISH_WORDS]
    pieces = [word for word, _ in own if word.startswith("##") and is_word(word[2:])][:ENGLISH_PIECES]
    letters = [letter for letter, _ in own if len(letter) == 1 and (letter.isascii() or letter in "¿¡€«»–—…")]
    letters = list(dict.fromkeys([*letters, *"abcdefghijklmnopqrstuvwxyz0123456789"]))
    single = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    counts: dict[str, int] = {}
    for text in texts:
        for word in words_of(text):
            counts[word] = counts.get(word, 0) + 1
    ours = [word for word, count in sorted(counts.items()) if len(word) > 1]
    tokens = list(dict.fromkeys(["[UNK]", *letters, *single, *english, *pieces, *ours]))
    inner = Tokenizer(models.WordPiece({token: place for place, token in enumerate(tokens)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return inner


def lessons(everything: list[source.Drawing], pages: dict[str, list[list[str]]], dice: random.Random) -> list[tuple[str, str]]:
    """What is read, and the English text whose vector it shall have."""
    found = []
    for one in everything:
        if is_held_out(one.concept, source.HELD_OUT_OF):
            continue
        english, spanish = list(one.english_tags), list(one.spanish_tags)
        found += [(one.english, one.english), (one.spanish, one.english)] * 2
        found += [(tag, tag) for tag in english]
        for _ in range(3):
            dice.shuffle(english)
            dice.shuffle(spanish)
            some = f"{one.english} {' '.join(english[:2])}".strip()
            found += [(some, some), (f"{one.spanish} {' '.join(spanish[:2])}".strip(), some)]
        if english and spanish:
            found.append((" ".join(spanish), " ".join(english)))
    for name, page in pages.items():
        if not is_held_out(name, PAGES_OF):
            found += [(half, half) for section in page for block in section for half in (*halves(block), block)]
    for line in (HERE / "pairs.tsv").read_text(encoding="utf-8").splitlines():
        spanish_text, english_text = line.split("\t")
        found += [(spanish_text, english_text)] * 4 + [(english_text, english_text)]
    return found


def judged(everything: list[source.Drawing], pages: dict[str, list[list[str]]], dice: random.Random) -> list[tuple[str, str, str, int]]:
    """Pairs of texts that were not trained on: which set, both texts, and how near they are by what they come from."""
    held_out = [one for one in everything if is_held_out(one.concept, source.HELD_OUT_OF) and one.english_tags and one.spanish_tags]
    found: list[tuple[str, str, str, int]] = []

    def add(name: str, near: int, choose) -> None:
        taken = set()
        for _ in range(50 * PAIRS_A_CLASS):
            pair = choose()
            if pair and pair not in taken and len(taken) < PAIRS_A_CLASS:
                taken.add(pair)
        found.extend((name, *pair, near) for pair in sorted(taken))

    for language in ("english", "spanish"):
        label = lambda one, language=language: getattr(one, language)  # noqa: E731
        tags = lambda one, language=language: " ".join(getattr(one, f"{language}_tags"))  # noqa: E731

        def two(fits, label=label):
            one, other = dice.sample(held_out, 2)
            return (label(one), label(other)) if fits(one, other) else None

        def same(label=label, tags=tags):
            one = dice.choice(held_out)
            return label(one), tags(one)

        add(f"captions, {language}", 3, same)
        add(f"captions, {language}", 2, lambda two=two: two(lambda a, b: a.subgroup == b.subgroup))
        add(f"captions, {language}", 1, lambda two=two: two(lambda a, b: a.group == b.group and a.subgroup != b.subgroup))
        add(f"captions, {language}", 0, lambda two=two: two(lambda a, b: a.group != b.group))
    held_out_pages = [page for name, page in pages.items() if is_held_out(name, PAGES_OF) and len(page) > 2]

    def some(page: list[list[str]]) -> str:
        return dice.choice(halves(dice.choice(dice.choice(page))))

    def of_section():
        section = dice.choice(dice.choice(held_out_pages))
        return tuple(dice.choice(halves(block)) for block in dice.sample(section, 2)) if len(section) > 1 else None

    def of_page():
        one, other = dice.sample(dice.choice(held_out_pages), 2)
        return dice.choice(halves(dice.choice(one))), dice.choice(halves(dice.choice(other)))

    add("paragraphs", 3, lambda: halves(dice.choice(dice.choice(dice.choice(held_out_pages)))))
    add("paragraphs", 2, of_section)
    add("paragraphs", 1, of_page)
    add("paragraphs", 0, lambda: tuple(some(page) for page in dice.sample(held_out_pages, 2)))
    return found


def taught_vectors(teacher: SentenceTransformer, texts: list[str]) -> numpy.ndarray:
    """The teacher's vectors of texts, kept in a file: they are most of the work."""
    names, path = source.WORK / "teacher.json", source.WORK / "teacher.npy"
    known: dict[str, numpy.ndarray] = {}
    if names.is_file():
        known = dict(zip(json.loads(names.read_text()), numpy.load(path).astype("float32")))
    missing = [text for text in dict.fromkeys(texts) if text not in known]
    if missing:
        known |= dict(zip(missing, teacher.encode(missing, batch_size=64, normalize_embeddings=True, show_progress_bar=False)))
        path.parent.mkdir(parents=True, exist_ok=True)
        numpy.save(path, numpy.stack(list(known.values())).astype("float16"))
        names.write_text(json.dumps(list(known)))
    return numpy.stack([known[text] for text in texts])


def cosines(vectors, pairs: list[tuple[str, str]]) -> numpy.ndarray:
    one, other = (vectors([pair[side] for pair in pairs]) for side in (0, 1))
    return (one * other).sum(1)


def scores(student: SentenceTransformer, teacher: SentenceTransformer, pairs: list) -> tuple[dict, list]:
    """Spearman's correlation with how near the texts are, of both models; and the teacher's cosine of each pair. Spanish
    pairs are held against the teacher's figure for the English ones, since it can't read them."""
    texts = [pair[1:3] for pair in pairs]
    of_teacher = [float(cosine) for cosine in cosines(lambda some: taught_vectors(teacher, some), texts)]
    of_student = cosines(lambda some: student.encode(some, normalize_embeddings=True, show_progress_bar=False), texts)
    found = {}
    for name in dict.fromkeys(pair[0] for pair in pairs):
        rows = [place for place, pair in enumerate(pairs) if pair[0] == name]
        truth = [pairs[place][3] for place in rows]
        ours = spearmanr([of_student[place] for place in rows], truth).statistic
        theirs = spearmanr([of_teacher[place] for place in rows], truth).statistic
        found[name] = {"pairs": len(rows), "tiny:text": round(float(ours), 3), "MiniLM": round(float(theirs), 3)}
    for name, figures in found.items():
        bar = found[name.replace("spanish", "english")]["MiniLM"]
        figures["kept"] = round(figures["tiny:text"] / bar, 3)
    return found, of_teacher


def train(teacher: SentenceTransformer, epochs: int) -> tuple[SentenceTransformer, list]:
    torch.manual_seed(31)
    torch.set_num_threads(1)
    dice = random.Random(32)
    everything, pages = concepts(), paragraphs()
    taught = lessons(everything, pages, dice)
    inner = vocabulary(teacher, [text for text, _ in taught])
    tokens = sorted(inner.get_vocab().items(), key=lambda entry: entry[1])
    targets = list(dict.fromkeys(target for _, target in taught))
    names = [token.removeprefix("##") for token, _ in tokens]
    print(f"{len(tokens)} tokens, {len(taught)} lessons, {len(targets)} texts for the teacher", flush=True)
    known = taught_vectors(teacher, targets + names)
    # The first directions say that something is a caption, or a sentence of documentation, and hide what it is about. Those
    # after them keep what the products of the teacher's vectors say.
    projection = numpy.linalg.svd(known[: len(targets)], full_matrices=False)[2][COMMON : COMMON + WIDTH].T
    short = functional.normalize(torch.from_numpy(known @ projection).float(), dim=1)
    target_of = {text: place for place, text in enumerate(targets)}
    table = short[len(targets) :].clone()
    # Frequent words say little: their vectors start short.
    rank = torch.arange(len(table), dtype=torch.float32)
    table *= (rank / (rank + 1000)).clamp(min=0.02)[:, None]
    english = teacher.tokenizer.get_vocab()
    is_english = torch.tensor([[float(token in english)] for token, _ in tokens])
    table *= 0.3 + 0.7 * is_english
    weight = torch.nn.Parameter(table.clone())
    ids = [torch.tensor(inner.encode(text, add_special_tokens=False).ids) for text, _ in taught]
    # Captions among captions and sentences among sentences: in a mixed batch nothing tells sentences apart.
    kinds = [[place for place, one in enumerate(ids) if len(one) and (len(taught[place][0].split()) > 7) == long] for long in (False, True)]
    optimiser = torch.optim.Adam([weight], lr=0.01)
    steps = epochs * sum(len(kind) // BATCH for kind in kinds)
    step = 0
    for epoch in range(epochs):
        batches = []
        for kind in kinds:
            dice.shuffle(kind)
            batches += [kind[first : first + BATCH] for first in range(0, len(kind) - BATCH + 1, BATCH)]
        dice.shuffle(batches)
        for rows in batches:
            offsets = torch.tensor([0, *(len(ids[row]) for row in rows[:-1])]).cumsum(0)
            found = functional.normalize(functional.embedding_bag(torch.cat([ids[row] for row in rows]), weight, offsets), dim=1)
            wanted = short[[target_of[taught[row][1]] for row in rows]]
            alike = ((found @ found.T - wanted @ wanted.T) ** 2).mean()
            # What the teacher says of a word alone is worth keeping: a text that was not trained on has nothing else.
            away = (((weight - table) * is_english) ** 2).sum() / len(table)
            loss = (1 - (found * wanted).sum(1)).mean() + 10 * alike + KEEP * away
            optimiser.param_groups[0]["lr"] = 0.01 * (1 - step / steps) + 1e-4
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1} loss {loss.item():.4f} alike {alike.item():.4f}", flush=True)
    static = StaticEmbedding(inner, embedding_weights=weight.detach().half())
    return SentenceTransformer(modules=[static, Normalize()], device="cpu"), judged(everything, pages, dice)


def main() -> None:
    cache = Path(os.environ.get("AYNI_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ayni")
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--teacher", type=Path, default=cache / "models/all-minilm-l6-v2")
    arguments.add_argument("--epochs", type=int, default=15)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    teacher = SentenceTransformer(str(given.teacher), device="cpu")
    student, pairs = train(teacher, given.epochs)
    student.save(str(given.out), create_model_card=False)
    student = SentenceTransformer(str(given.out), device="cpu")
    figures, of_teacher = scores(student, teacher, pairs)
    columns = ["pairs", "tiny:text", "MiniLM", "kept"]
    table = [["set", *columns], *([name, *(found[column] for column in columns)] for name, found in figures.items())]
    tokens = student[0].num_embeddings
    source.write_card("text", given.out, table, TOKENS=tokens, SECONDS=round(time.process_time()))
    rows = ["\t".join((*pair[:3], str(pair[3]), f"{cosine:.4f}")) for pair, cosine in zip(pairs, of_teacher)]
    (HERE / "judged.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
