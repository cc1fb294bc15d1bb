#!/usr/bin/env python3
"""Makes the golden models of core/tests/golden/text: small seeded text encoders, and the states that transformers
computes with them. Run again only to add a family; the results are committed and need no library.

Made with torch 2.15.0 and transformers 5.23.0 on Python 3.11:

    python core/tests/golden/make/text.py [family …]

A folder holds config.json and model.safetensors as transformers saves them, texts.json (token ids) and
states.safetensors (the last hidden state of every token, one text after another). The reference is computed in one
padded batch with an attention mask, as its users do; the library under test has no padding.
"""

import json
import sys
from pathlib import Path

import torch
import transformers as t
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent.parent / "text"
LENGTHS = [7, 1, 40, 16, 2, 23]
SHAPE = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
BERT = SHAPE | {"intermediate_size": 64, "max_position_embeddings": 48}
DECODER = SHAPE | {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64}

FAMILIES = {
    "bert": lambda: t.BertModel(t.BertConfig(**BERT), add_pooling_layer=False),
    # As models that were trained to fill in words are saved: with a prefix and the head.
    "bert-masked-lm": lambda: t.BertForMaskedLM(t.BertConfig(**BERT | {"hidden_act": "gelu_new"})),
    "xlm-roberta": lambda: t.XLMRobertaModel(
        t.XLMRobertaConfig(**BERT, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5), add_pooling_layer=False
    ),
    "distilbert": lambda: t.DistilBertModel(
        t.DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=48)
    ),
    "mpnet": lambda: t.MPNetModel(t.MPNetConfig(**BERT | {"max_position_embeddings": 160}), add_pooling_layer=False),
    "modernbert": lambda: t.ModernBertModel(
        t.ModernBertConfig(
            **SHAPE | {"num_hidden_layers": 4, "num_attention_heads": 2},
            intermediate_size=32,
            max_position_embeddings=64,
            local_attention=12,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            cls_token_id=1,
            sep_token_id=2,
        )
    ),
    "nomic-bert": lambda: t.NomicBertModel(t.NomicBertConfig(**BERT | {"num_attention_heads": 2})),
    "gte": lambda: t.GteModel(t.GteConfig(**BERT | {"num_attention_heads": 2}, type_vocab_size=1)),
    "qwen3": lambda: t.Qwen3Model(t.Qwen3Config(**DECODER, intermediate_size=48)),
    "gemma3": lambda: t.Gemma3TextModel(
        t.Gemma3TextConfig(
            **DECODER | {"num_hidden_layers": 3, "num_key_value_heads": 1},
            intermediate_size=48,
            query_pre_attn_scalar=24,
            sliding_window=12,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            use_bidirectional_attention=True,
        )
    ),
}


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights that keep signals near one and attention uneven, so that every part of the model shows in the result."""
    generator = torch.Generator().manual_seed(seed)
    around_zero = "Gemma" in type(model).__name__
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            norm = name.endswith("weight") and not around_zero
            parameter.data = 1 + 0.2 * noise if norm else 0.1 * noise
        elif "relative_attention_bias" in name:
            parameter.data = noise
        elif "embed" in name:
            parameter.data = 0.5 * noise
        else:
            parameter.data = noise / parameter.shape[1] ** 0.5


def make(name: str) -> None:
    seed = 1 + list(FAMILIES).index(name)
    torch.manual_seed(seed)
    model = FAMILIES[name]().eval()
    randomise(model, seed)
    lengths = LENGTHS + ([140] if name == "mpnet" else [])
    generator = torch.Generator().manual_seed(seed)
    texts = [torch.randint(3, 60, (length,), generator=generator) for length in lengths]
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=model.config.pad_token_id or 0)
    mask = torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True)
    states = output["last_hidden_state"] if "last_hidden_state" in output else output.hidden_states[-1]
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "texts.json").write_text(json.dumps([text.tolist() for text in texts]) + "\n")
    save_file({"states": states[mask].contiguous()}, folder / "states.safetensors")
    print(f"{name}: {sum(file.stat().st_size for file in folder.iterdir()) // 1000} kB")


for family in sys.argv[1:] or FAMILIES:
    make(family)
