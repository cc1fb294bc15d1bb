#!/usr/bin/env python3
"""Makes core/tests/golden/gguf: the models of core/tests/golden/text as llama.cpp's package `gguf` names and writes their
tensors. Run again only to add a case; the results are committed and need no library.

Made with gguf 0.19.0 on Python 3.11:

    python core/tests/golden/make/gguf_files.py
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parent.parent
ARCHITECTURES = {"bert": gguf.MODEL_ARCH.BERT, "qwen3": gguf.MODEL_ARCH.QWEN3}


def write(model: str, kind: gguf.GGMLQuantizationType) -> None:
    architecture = ARCHITECTURES[model]
    layers = json.loads((GOLDEN / "text" / model / "config.json").read_text())["num_hidden_layers"]
    names = gguf.get_tensor_name_map(architecture, layers)
    writer = gguf.GGUFWriter(GOLDEN / "gguf" / f"{model}-{kind.name}.gguf", gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_name(f"a tiny {model}")
    writer.add_block_count(layers)
    writer.add_token_list(["a", "b", "größe"])
    for name, tensor in load_file(GOLDEN / "text" / model / "model.safetensors").items():
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            print(f"{model}: {name} has no name in GGUF")
            continue
        numbers = tensor.to(torch.float32).numpy()
        is_quantised = numbers.ndim == 2 and numbers.shape[1] % 32 == 0
        kept = kind if is_quantised or kind == gguf.GGMLQuantizationType.F32 else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(numbers.astype(np.float32), kept)
        writer.add_tensor(found, data, raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    (GOLDEN / "gguf").mkdir(exist_ok=True)
    write("bert", gguf.GGMLQuantizationType.BF16)
    write("qwen3", gguf.GGMLQuantizationType.F16)
    write("qwen3", gguf.GGMLQuantizationType.Q8_0)
