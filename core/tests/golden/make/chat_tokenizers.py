#!/usr/bin/env python3
"""Writes core/tests/golden/chat/: small vocabularies of each kind that GGUF files hold, 2,000 hostile texts, and what the
reference libraries make of them. Run again only to add a case; the results are committed and need no library.

Made with tokenizers 0.23.3, sentencepiece 0.2.3, gguf 0.19.0, xllamacpp 2026.10.11549 (llama.cpp) on Python 3.11:

    python core/tests/golden/make/chat_tokenizers.py

Ids are kept as one hash for each text (the upper half of FNV-1a over the ids as four little-endian bytes): the test says which text
differs, and this script's references say how.
"""

import base64
import json
import random
import tempfile
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers

HERE = Path(__file__).resolve().parent.parent / "chat"
ROOT = HERE.parent.parent.parent.parent
COUNT = 2000
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
EXTENDED = ["<think>", "</think>", "  \n"]
# The pre-tokenizers whose llama.cpp code gives what the model's own expression does. Its regular expressions do not tell upper
# from lower case: where that matters, and for `tokenizer.json`, the expression of the model is the truth (TRUE_TO_MODEL).
PRE = """default llama-bpe falcon3 smaug-bpe glm4 jais-2 minicpm5 deepseek-llm deepseek-coder deepseek-v3 falcon smollm
starcoder gpt-2 mpt qwen2 stablelm2 qwen35 laguna bailingmoe seed-coder exaone-moe bloom viking""".split()
LETTERS = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ENDING = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = rf"{LETTERS}*{LOWER}+{ENDING}|{LETTERS}+{LOWER}*{ENDING}|\p{{N}}{{1,3}}{REST}"
EAST = (
    r"[\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}"
    r"\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"
)
TRUE_TO_MODEL = {
    "tekken": [rf"{LETTERS}*{LOWER}+|{LETTERS}+{LOWER}*|\p{{N}}{REST}"],
    "gpt-4o": [GPT4O],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
    "youtu": [EAST, rf"{LETTERS}*{LOWER}+{ENDING}|{LETTERS}+{LOWER}*{ENDING}|\p{{N}}{REST}"],
}


def fnv(ids: list[int]) -> str:
    value = 0xCBF29CE484222325
    for token in ids:
        for byte in int(token).to_bytes(4, "little"):
            value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value >> 32:08x}"


def corpus() -> list[str]:
    """The project's own documents, and a little of other scripts."""
    texts = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))]
    texts += [path.read_text() for path in sorted((ROOT / "docs" / "guides").glob("*.md"))][:4]
    texts.append("El ñandú corrió detrás del pingüino; ¿cuántos años tenía? Größe, façade, naïve, œuvre. " * 20)
    texts.append("Привет, как дела? Всё хорошо. Γειά σου Κόσμε. שלום עולם مرحبا بالعالم नमस्ते दुनिया " * 20)
    texts.append("漢字とかなの文章です。今日は良い天気ですね。你好，世界！我们在学习。안녕하세요 세계 " * 20)
    texts.append("😀 👩‍👩‍👧‍👦 🇨🇱 ❤️ ½ ⅷ ² ١٢٣ १२३ " * 20)
    return texts


def hostile(seed: int) -> list[str]:
    rng = random.Random(seed)
    pieces = [
        " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x85",
        "\x00", "\x01", "\x1b[0m", "\x7f", "\ufeff", "\ufffd", "\U0010fffd", "\ue000",
        "a", "b", "A", "Z", "é", "e\u0301", "ñ", "ß", "ſ", "ı", "İ", "ﬁ", "ǆ", "ǅ", "Ω", "\u2126", "\u212a", "ʰ", "ª",
        "don't", "DON'T", "we'LL", "I'm", "'S", "’s", "'re", "'", "''", "\"", "`", "l'été",
        "0", "1", "12", "123", "1234", "12345678901234567890", "3.14", "1e-5", "½", "Ⅷ", "²", "١٢٣", "१२", "𝟘𝟙",
        "the", "The", " the", "hello", "Hello World", "HelloWorld", "helloWORLD", "iPhone", "x86_64", "snake_case", "kebab-case",
        "漢", "漢字", "かな", "カナ", "你好，世界！", "안녕하세요", "ㄅㄆ", "ไทย", "नमस्ते", "हिन्दी", "שלום", "مرحبا", "Привет", "ёж",
        "😀", "👩‍👩‍👧‍👦", "🇨🇱", "❤️", "🏽", "\u200d", "\ufe0f", "\u0301", "\u0301\u0301\u0301",
        ".", "...", ",", ";", ":", "!", "?!", "(", ")", "[", "]", "{", "}", "<", ">", "<>", "/", "//", "\\", "|", "||", "&&",
        "+=", "==", "!=", "->", "=>", "::", "$", "€", "%", "^", "~", "#", "##", "@", "*", "**", "_", "__", "-", "--", "—",
        "https://example.org/a?b=c&d=%20#e", "a@b.cl", "C:\\x\\y", "#include <x.h>", "fn f() -> u8 { 0 }", "if x:\n    y\n",
        "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_", "end|>", "<think>", "</think>", "<s>", "</s>", "<unk>", "<0x0A>",
        "▁", "▁▁", "▁the", "Ġ", "Ċ", "[INST]", "<pad>", "user\n", "assistant",
    ]
    texts = list(pieces)
    while len(texts) < COUNT:
        kind = rng.random()
        if kind < 0.6:
            texts.append("".join(rng.choice(pieces) for _ in range(rng.randint(2, 12))))
        elif kind < 0.75:
            texts.append(" ".join(rng.choice(pieces) for _ in range(rng.randint(2, 10))))
        elif kind < 0.85:
            texts.append("".join(chr(rng.choice([rng.randint(0, 0x2FF), rng.randint(0x300, 0xD7FF), rng.randint(0xE000, 0x1FFFF)]))
                                 for _ in range(rng.randint(1, 20))))
        elif kind < 0.93:
            texts.append(rng.choice(pieces) * rng.randint(2, 60))
        else:
            texts.append("".join(rng.choice(" \n\t\r") for _ in range(rng.randint(1, 40))) + rng.choice(pieces))
    return [text for text in texts[:COUNT]]


class Llama:
    """llama.cpp's server on a model of one layer with this vocabulary."""

    def __init__(self, vocabulary) -> None:
        import xllamacpp
        from xllamacpp import CommonParams, Server

        folder = tempfile.mkdtemp()
        path = Path(folder) / "tiny.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        size = vocabulary(writer)
        writer.add_context_length(64)
        writer.add_embedding_length(32)
        writer.add_block_count(1)
        writer.add_feed_forward_length(32)
        writer.add_head_count(2)
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(16)
        writer.add_vocab_size(size)
        shapes = {"token_embd.weight": (size, 32), "output_norm.weight": (32,), "output.weight": (size, 32)}
        for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
            shapes[f"blk.0.{name}.weight"] = (32, 32)
        for name in ["attn_norm", "ffn_norm"]:
            shapes[f"blk.0.{name}.weight"] = (32,)
        for name, shape in shapes.items():
            writer.add_tensor(name, np.full(shape, 0.01, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        params = CommonParams()
        params.model.path = str(path)
        params.n_ctx = 64
        params.n_parallel = 1
        params.warmup = False
        params.cpuparams.n_threads = 1
        params.verbosity = -1
        self.server = Server(params)

    def ids(self, text: str) -> list[int]:
        body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
        request = urllib.request.Request(
            self.server.listening_address + "/tokenize", body, {"Content-Type": "application/json"}
        )
        return json.loads(urllib.request.urlopen(request).read())["tokens"]


def byte_pairs(texts: list[str]) -> None:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(corpus() + texts[:600], trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in EXTENDED])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    folder = HERE / "bpe"
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    described = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "<|endoftext|>", "eos_token": {"content": "<|im_end|>"}, "chat_template": "{{ messages }}"}
    ) + "\n")
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 2]}\n')
    size = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(i) for i in range(size)]
    merges = [" ".join(pair) for pair in described["model"]["merges"]]
    types = [3 if token in SPECIAL else 4 if token in EXTENDED else 1 for token in tokens]

    def vocabulary(pre: str):
        def write(writer) -> int:
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre(pre)
            writer.add_token_list(tokens)
            writer.add_token_types(types)
            writer.add_token_merges(merges)
            writer.add_bos_token_id(0)
            writer.add_eos_token_id(2)
            writer.add_add_bos_token(False)
            return size

        return write

    expected = {"tokenizer.json": [fnv(encode_plain(tokenizer, text)) for text in texts]}
    for pre in PRE:
        llama = Llama(vocabulary(pre))
        expected[pre] = [fnv(llama.ids(text)) for text in texts]
        print(pre)
    for pre, expressions in TRUE_TO_MODEL.items():
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            *[pre_tokenizers.Split(Regex(expression), "isolated") for expression in expressions],
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])
        tokenizer.model.ignore_merges = pre in ("tekken", "youtu")
        expected[pre] = [fnv(encode_plain(tokenizer, text)) for text in texts]
    write("bpe.json", {"tokens": tokens, "types": types, "merges": merges, "hashes": expected})


def encode_plain(tokenizer: tokenizers.Tokenizer, text: str) -> list[int]:
    """As text of a user: control tokens in it are spelled out."""
    tokenizer.encode_special_tokens = True
    return tokenizer.encode(text, add_special_tokens=False).ids


def sentencepieces(texts: list[str], kind: str, file: str) -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "corpus.txt").write_text("\n".join(line for text in corpus() for line in text.splitlines() if line.strip()))
    is_bpe = kind == "bpe"
    # A few rules of NFKC's kind: the whole table has 240 kB.
    rules = [(0xFF21 + i, [0x41 + i]) for i in range(26)] + [(0xFB01, [0x66, 0x69]), (0x3000, [0x20]), (0x09, [0x20]), (0x0A, [0x20])]
    lines = [f"{source:X}\t{' '.join(f'{target:X}' for target in targets)}" for source, targets in rules]
    (folder / "rules.tsv").write_text("\n".join(lines) + "\n")
    rule = {"normalization_rule_name": "identity"} if is_bpe else {"normalization_rule_tsv": str(folder / "rules.tsv")}
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"), model_prefix=str(folder / "m"), vocab_size=900, model_type=kind,
        byte_fallback=is_bpe, **rule,
        remove_extra_whitespaces=not is_bpe, add_dummy_prefix=True, character_coverage=0.9995 if is_bpe else 1.0,
        user_defined_symbols=["<think>", "</think>"] if is_bpe else [], num_threads=1, minloglevel=2, allow_whitespace_only_pieces=is_bpe,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "m.model"))
    size = model.get_piece_size()
    tokens = [model.id_to_piece(i) for i in range(size)]
    scores = [model.get_score(i) for i in range(size)]
    types = []
    for i in range(size):
        kinds = [(model.is_unknown, 2), (model.is_control, 3), (model.is_unused, 5), (model.is_byte, 6)]
        types.append(next((number for test, number in kinds if test(i)), 4 if tokens[i] in ("<think>", "</think>") else 1))
    golden = {"tokens": tokens, "scores": scores, "types": types}
    if is_bpe:
        def vocabulary(writer) -> int:
            writer.add_tokenizer_model("llama")
            writer.add_tokenizer_pre("default")
            writer.add_token_list(tokens)
            writer.add_token_scores(scores)
            writer.add_token_types(types)
            writer.add_bos_token_id(1)
            writer.add_eos_token_id(2)
            writer.add_unk_token_id(0)
            return size

        llama = Llama(vocabulary)
        golden["hashes"] = {"llama.cpp": [fnv(llama.ids(text)) for text in texts]}
        writer = gguf.GGUFWriter(HERE / "spm.gguf", "qwen3")
        vocabulary(writer)
        writer.add_chat_template([
            {"name": "default", "template": "{{ messages[0].content }}"},
            {"name": "tool_use", "template": "{{ tools }}"},
        ])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        del golden["tokens"], golden["scores"], golden["types"]
    else:
        from sentencepiece import sentencepiece_model_pb2 as pb

        proto = pb.ModelProto()
        proto.ParseFromString((folder / "m.model").read_bytes())
        golden["charsmap"] = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
        golden["hashes"] = {}
    golden["hashes"]["sentencepiece"] = [fnv(model.encode(text)) for text in texts]
    write(file, golden)


def write(name: str, golden: dict) -> None:
    (HERE / name).write_text(json.dumps(golden, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    strings = hostile(7)
    write("texts.json", strings)
    sentencepieces(strings, "bpe", "spm.json")
    sentencepieces(strings, "unigram", "unigram.json")
    byte_pairs(strings)
