#!/usr/bin/env python3
"""Writes siglip/: tiny tokenizers of the kinds that SigLIP and SigLIP 2 have, and the ids and vectors that transformers
makes of texts with them.

usage: python core/tests/golden/make/siglip.py
requirements.txt beside this file names the versions. Run clip.py first: the vectors of `siglip` are those of its model.

siglip/   sentencepiece's unigrams: spiece.model as the first repositories have it, and the same as tokenizer.json. The
          text is cleaned first: lower case, no punctuation, single spaces.
siglip2/  Gemma's byte pairs with bytes for what they lack, in lower case, and a model for them with the real window of 64.
"""

import io
import json
import random
import re
import shutil
import string
from pathlib import Path

import sentencepiece
import torch
from clip import features, randomise, rounded
from safetensors.torch import load_file, save_file
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import Siglip2Tokenizer, SiglipConfig, SiglipModel, SiglipTokenizer

GOLDEN = Path(__file__).resolve().parent.parent
OUT = GOLDEN / "siglip"
WORDS = (
    "a photo of the cat dog road to north red house two small boats on water lake mountain hospital school street light "
    "night day people river green blue bird tree 0 1 2 3 4 5 6 7 8 9 j k q v w x y z"
).split()
TEXTS = [
    "a photo of a cat",
    "A Photo, of a CAT!",
    "",
    "   ",
    "!!!",
    "two  boats\t\non water ",
    "don't (stop) the bird's light",
    "ＡＢＣ ﬁre",
    "niño 😀 x",
    "a\u00a0road\u2009north",
    "snake_case ▁of",
    "a <eos> <pad> b",
    "1,000.5 people",
    "the road to the lake " * 20,
]


def sentences() -> list[str]:
    chosen = random.Random(1)
    return [" ".join(chosen.choice(WORDS) for _ in range(6)) for _ in range(400)]


def pieces(folder: Path) -> None:
    """64 unigrams with T5's settings, and some rules of normalisation in place of the many of Unicode."""
    letters = [(0xFF21 + case + at, 0x41 + case + at) for case in (0, 32) for at in range(26)]
    rules = [f"{wide:X}\t{plain:X}" for wide, plain in letters] + ["FB01\t66 69", "A0\t20", "2009\t20"]
    table = folder / "rules.tsv"
    table.write_text("\n".join(rules) + "\n")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences()), model_writer=model, model_type="unigram", vocab_size=64, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, normalization_rule_tsv=str(table), character_coverage=1.0, num_threads=1,
    )
    table.unlink()
    (folder / "spiece.model").write_bytes(model.getvalue())


def unigram(folder: Path) -> None:
    """The same as tokenizer.json, cleaning included."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((folder / "spiece.model").read_bytes())
    made = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in proto.pieces], unk_id=2, byte_fallback=False))
    made.normalizer = normalizers.Sequence([
        normalizers.Lowercase(),
        normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Strip(),
        normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
        normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), " "),
    ])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    made.add_special_tokens(["</s>", "<unk>"])
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    made.save(str(folder / "tokenizer.json"))


def byte_pairs(folder: Path) -> None:
    vocabulary = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary += list("abcdefghijklmnopqrstuvwxyz.,!▁")
    merges = []
    for word in ["▁" + word for word in WORDS[:20]]:
        for end in range(1, len(word)):
            if word[: end + 1] not in vocabulary:
                merges.append((word[:end], word[end]))
                vocabulary.append(word[: end + 1])
    ids = {token: id for id, token in enumerate(vocabulary)}
    made = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.add_special_tokens(vocabulary[:4])
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made.save(str(folder / "tokenizer.json"))


def write_json(path: Path, value, **options) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, **options) + "\n", encoding="utf-8")


def write_cases(folder: Path, tokenizer, model: SiglipModel) -> None:
    window = model.config.text_config.max_position_embeddings
    cases = []
    for text in TEXTS:
        ids = tokenizer(text, padding="max_length", truncation=True, max_length=window).input_ids
        assert len(ids) == window and tokenizer.padding_side == "right"
        with torch.no_grad():
            vector = features(model.get_text_features(torch.tensor([ids])))[0].tolist()
        cases.append({"text": text, "ids": ids, "features": rounded([vector])[0]})
    write_json(folder / "cases.json", cases)
    print(folder.name, sum(file.stat().st_size for file in folder.iterdir()), "bytes")


def siglip() -> None:
    folder = OUT / "siglip"
    folder.mkdir(parents=True)
    pieces(folder)
    unigram(folder)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "SiglipTokenizer", "do_lower_case": True, "eos_token": "</s>", "pad_token": "</s>",
        "unk_token": "<unk>", "model_max_length": 64,
    }, indent=1)
    config = json.loads((GOLDEN / "clip/siglip/config.json").read_text())
    model = SiglipModel(SiglipConfig(**config)).eval()
    weights = load_file(GOLDEN / "clip/siglip/model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    write_cases(folder, SiglipTokenizer(str(folder / "spiece.model")), model)


def siglip2() -> None:
    folder = OUT / "siglip2"
    folder.mkdir(parents=True)
    byte_pairs(folder)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "GemmaTokenizer", "add_bos_token": False, "add_eos_token": True, "bos_token": "<bos>",
        "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "padding_side": "right", "model_max_length": 64,
    }, indent=1)
    tokenizer = Siglip2Tokenizer.from_pretrained(folder)
    config = {
        "text_config": {"vocab_size": len(tokenizer), "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
                        "num_attention_heads": 3, "max_position_embeddings": 64, "projection_size": 32},
        "vision_config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
                          "image_size": 32, "patch_size": 16},
    }
    model = SiglipModel(SiglipConfig(**config)).eval()
    randomise(model, 7)
    state = {key: value.to(torch.bfloat16).contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", {"model_type": "siglip", "architectures": ["SiglipModel"], **config}, indent=1)
    write_cases(folder, tokenizer, model)


def main() -> None:
    torch.set_num_threads(1)
    shutil.rmtree(OUT, ignore_errors=True)
    siglip()
    siglip2()


if __name__ == "__main__":
    main()
