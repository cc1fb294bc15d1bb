#!/usr/bin/env python3
"""Writes repositories/: a tiny seeded BERT, what sentence-transformers saves around it for each way of pooling and for
dense layers, prompts and shortened vectors, and the vectors that it gives.

usage: python core/tests/golden/make/repositories.py
requirements.txt beside this file names the versions.

base/            the encoder: the same for every case
cases/NAME/      the files of the repository that are the case's own
expected.json    texts, and what each case makes of them
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel, BertTokenizerFast

OUT = Path(__file__).resolve().parent.parent / "repositories"
WIDTH = 32
TEXTS = [
    "the road to the north",
    "Supply of office furniture for the public library",
    "",
    "   ",
    "a",
    "niño 😀 \u0007 camión",
    "word " * 60,
]
# What belongs to the encoder and is the same everywhere.
SHARED = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def tokenizer() -> BertTokenizerFast:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "road", "north", "supply", "library", "word"]
    vocabulary = words + list(letters) + [f"##{letter}" for letter in letters] + [":", "query", "passage"]
    inner = Tokenizer(WordPiece({token: id for id, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", vocabulary.index("[CLS]")), ("[SEP]", vocabulary.index("[SEP]"))],
    )
    return BertTokenizerFast(tokenizer_object=inner, model_max_length=48)


def write_base(folder: Path) -> None:
    torch.manual_seed(4)
    own = tokenizer()
    config = BertConfig(
        vocab_size=len(own),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        initializer_range=0.3,
    )
    BertModel(config).eval().save_pretrained(folder)
    own.save_pretrained(folder)


def numbers(vectors) -> list:
    return [[float(f"{x:.7g}") for x in vector] for vector in vectors]


def run(name: str, modules: list, calls: list | None = None, **options) -> dict:
    torch.manual_seed(5)
    model = SentenceTransformer(modules=modules, device="cpu", **options).eval()
    with tempfile.TemporaryDirectory() as saved:
        model.save(saved, create_model_card=False)
        case = OUT / "cases" / name
        shutil.copytree(saved, case, ignore=shutil.ignore_patterns("README.md"))
        for shared in SHARED:
            (case / shared).unlink(missing_ok=True)
        model = SentenceTransformer(saved, device="cpu").eval()
    encoders = {None: model.encode, "query": model.encode_query, "document": model.encode_document}
    results = []
    for call in calls or [{}]:
        role, dimensions = call.get("role"), call.get("dimensions")
        extra = {"truncate_dim": dimensions, "normalize_embeddings": True} if dimensions else {}
        vectors = [encoders[role](text, **extra) for text in TEXTS]
        results.append({"role": role, "dimensions": dimensions, "vectors": numbers(vectors)})
    return {"name": name, "calls": results}


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    base = OUT / "base"
    write_base(base)
    encoder = lambda: Transformer(str(base))  # noqa: E731
    cases = [
        run(f"pooling-{mode}", [encoder(), Pooling(WIDTH, mode)])
        for mode in ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
    ]
    cases.append(run("pooling-mean-and-max", [encoder(), Pooling(WIDTH, ("mean", "max"))]))
    torch.manual_seed(6)
    dense = Dense(WIDTH, 16, activation_function=torch.nn.Tanh())
    cases.append(run("dense", [encoder(), Pooling(WIDTH, "mean"), dense, Normalize()]))
    torch.manual_seed(7)
    dense = [
        Dense(WIDTH, 64, bias=False, activation_function=torch.nn.Identity()),
        Dense(64, 24, bias=False, activation_function=torch.nn.GELU()),
    ]
    cases.append(run("dense-twice", [encoder(), Pooling(WIDTH, "cls"), *dense]))
    roles = [{}, {"role": "query"}, {"role": "document"}]
    prompts = {"query": "query: ", "document": "passage: ", "other": "road "}
    modules = [encoder(), Pooling(WIDTH, "mean"), Normalize()]
    cases.append(run("prompts", modules, roles, prompts=prompts, default_prompt_name="other"))
    modules = [encoder(), Pooling(WIDTH, "weightedmean", include_prompt=False)]
    prompts = {"query": "query: ", "document": "passage: "}
    cases.append(run("prompts-not-pooled", modules, roles, prompts=prompts))
    modules = [encoder(), Pooling(WIDTH, "lasttoken"), Normalize()]
    cases.append(run("shortened", modules, [{"dimensions": 8}, {}]))
    with (OUT / "expected.json").open("w", encoding="utf-8") as file:
        json.dump({"texts": TEXTS, "cases": cases}, file, ensure_ascii=False)
        file.write("\n")
    for path in OUT.rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
