"""Makes OpenVINO's files of a folder that make.py made: `python convert.py FOLDER`.

bf16: the graphs as torch has them, weights in 16 bits. int8: the UNet with weights per output channel and activations per
tensor in int8, by nncf's `quantize` for transformers; its scales come from two random inputs, and biases are not corrected,
which changes numbers and no time."""

import sys
from pathlib import Path

import nncf
import numpy
import openvino
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel


class Part(torch.nn.Module):
    """A function of a model as a module."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs):
        return self.function(self.model, *inputs)


def denoise(unet, latent, timesteps, states):
    return unet(latent, timesteps, encoder_hidden_states=states, return_dict=False)[0]


def parts(folder: Path):
    """Name, module and example inputs of each part."""
    load = lambda kind, name, **key: kind.from_pretrained(folder / name, **key).eval()
    text = load(CLIPTextModel, "text_encoder", dtype=torch.float32)
    yield "text", Part(text, lambda model, ids: model(ids).last_hidden_state), [torch.full([1, 77], 49407)]
    vae = load(AutoencoderKL, "vae", torch_dtype=torch.float32)
    yield "decode", Part(vae, lambda model, latent: model.decode(latent, return_dict=False)[0]), [torch.randn(1, 4, 64, 64)]
    # The mean and the logarithm of the variance, of which drawing takes no time.
    yield "encode", Part(vae, lambda model, pixels: model.quant_conv(model.encoder(pixels))), [torch.randn(1, 3, 512, 512)]
    unet = load(UNet2DConditionModel, "unet", torch_dtype=torch.float32)
    for rows in (1, 2):
        inputs = [torch.randn(rows, 4, 64, 64), torch.tensor([500.0] * rows), torch.randn(rows, 77, 768)]
        yield f"step{rows}", Part(unet, denoise), inputs


def quantised(file: Path, shapes: list) -> openvino.Model:
    draw = numpy.random.default_rng(0)
    inputs = [[draw.standard_normal(shape).astype(numpy.float32) for shape in shapes] for _ in range(2)]
    for example in inputs:
        example[1][:] = 500.0
    parameters = nncf.AdvancedQuantizationParameters(
        disable_bias_correction=True,
        smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
    )
    return nncf.quantize(
        openvino.Core().read_model(file), nncf.Dataset(inputs), preset=nncf.QuantizationPreset.MIXED, subset_size=2,
        model_type=nncf.ModelType.TRANSFORMER, advanced_parameters=parameters,
    )


def main(folder: Path) -> None:
    made = folder / "openvino"
    made.mkdir(exist_ok=True)
    for name, module, inputs in parts(folder):
        file = made / f"{name}_bf16.xml"
        shapes = [list(x.shape) for x in inputs]
        if not file.exists():
            with torch.no_grad():
                openvino.save_model(openvino.convert_model(module, example_input=tuple(inputs), input=shapes), file)
        if name == "step1" and not (made / "step1_int8.xml").exists():
            openvino.save_model(quantised(file, shapes), made / "step1_int8.xml")
        print(f"# {name} is converted", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
