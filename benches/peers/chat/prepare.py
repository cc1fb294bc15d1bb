"""Makes the real model in other formats: `prepare.py SmolLM2-135M-Instruct.Q4_1.gguf FOLDER`.

The package that carries it has Q4_1 alone; llama.cpp's own quantiser makes the others of that, so their answers are a
little worse than those of files made from the original. For speed that makes no difference."""

import sys
from pathlib import Path

import llama_cpp

# llama_ftype of llama.cpp.
FORMATS = {"Q4_0": 2, "Q8_0": 7, "Q4_K_M": 15}


def main() -> int:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in FORMATS.items():
        target = folder / f"SmolLM2-135M-Instruct.{name}.gguf"
        part = target.with_suffix(".part")
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype, parameters.allow_requantize, parameters.nthread = number, True, 2
        if llama_cpp.llama_model_quantize(str(source).encode(), str(part).encode(), parameters) != 0:
            print(f"error: llama.cpp could not quantise to {name}", file=sys.stderr)
            return 1
        part.rename(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
