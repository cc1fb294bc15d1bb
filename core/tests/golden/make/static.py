#!/usr/bin/env python3
"""Writes static/: small seeded tables of vectors as sentence-transformers and model2vec lay them out, and the vectors that
sentence-transformers makes of them.

usage: python core/tests/golden/make/static.py
requirements.txt beside this file names the versions.

NAME/            a model
expected.json    texts, and what each model makes of them
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

OUT = Path(__file__).resolve().parent.parent / "static"
WIDTH = 24
TEXTS = ["the road to the north", "", "   ", "a", "niño 😀 \u0007 camión", "the library, the road", "word " * 700]


def tokenizer() -> Tokenizer:
    """With special tokens that its template adds, and a truncation: neither belongs to a table's vectors."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "road", "north", "library", "word", ","]
    vocabulary = words + list(letters) + [f"##{letter}" for letter in letters]
    inner = Tokenizer(WordPiece({token: id for id, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", vocabulary.index("[CLS]")), ("[SEP]", vocabulary.index("[SEP]"))],
    )
    return inner


def table(seed: int) -> torch.Tensor:
    return torch.randn(tokenizer().get_vocab_size(), WIDTH, generator=torch.Generator().manual_seed(seed))


def of_sentence_transformers(name: str, weights: torch.Tensor, *rest) -> None:
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer(), embedding_weights=weights), *rest], device="cpu")
    model.save(str(OUT / name), create_model_card=False)


def of_model2vec(name: str) -> None:
    """As model2vec saves a model, which has `config.json` and calls the table and the folder otherwise."""
    folder = OUT / name
    folder.mkdir()
    save_file({"embeddings": table(3)}, folder / "model.safetensors")
    tokenizer().save(str(folder / "tokenizer.json"))
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": WIDTH, "seq_length": 1_000_000, "normalize": True}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    modules = [
        {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=1) + "\n")


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    of_sentence_transformers("unit-length", table(1), Normalize())
    of_sentence_transformers("half", table(2).half())
    of_model2vec("model2vec")
    cases = {}
    for folder in sorted(path for path in OUT.iterdir()):
        model = SentenceTransformer(str(folder), device="cpu")
        vectors = [model.encode(text).astype("float32") for text in TEXTS]
        cases[folder.name] = [[float(f"{x:.7g}") for x in vector] for vector in vectors]
    with (OUT / "expected.json").open("w", encoding="utf-8") as file:
        json.dump({"texts": TEXTS, "cases": cases}, file, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main()
