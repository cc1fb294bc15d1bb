"""The transformers as OpenVINO's own models, converted from torch; int8 by nncf.

transformers makes its attention masks in a way that OpenVINO's converter cannot trace. So each model takes its mask with four
dimensions, and its positions, as inputs."""

from pathlib import Path

import numpy
import openvino
import torch
from torch.nn.functional import normalize

from sides import HIDDEN, clip_text_inputs, minilm_inputs


class MiniLm(torch.nn.Module):
    """The mean over the tokens at unit length."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, mask, positions):
        hidden = (1.0 - mask)[:, None, None, :] * HIDDEN
        states = self.model(input_ids=input_ids, attention_mask=hidden, position_ids=positions).last_hidden_state
        weights = mask.unsqueeze(-1)
        return normalize((states * weights).sum(1) / weights.sum(1))


class ClipText(torch.nn.Module):
    """The end-of-text token is the last one here: no text is padded."""

    def __init__(self, model):
        super().__init__()
        self.tower, self.projection = model.text_model, model.text_projection

    def forward(self, input_ids, hidden, positions):
        tower = self.tower
        states = tower.embeddings(input_ids=input_ids, position_ids=positions)
        for layer in tower.encoder.layers:
            states = layer(states, hidden)
            states = states if torch.is_tensor(states) else states[0]
        return normalize(self.projection(tower.final_layer_norm(states)[:, -1]))


class ClipImage(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixel_values):
        return normalize(self.projection(self.tower(pixel_values=pixel_values).pooler_output))


def save(module: torch.nn.Module, samples: list[list[numpy.ndarray]], path: Path) -> None:
    """The model in f32, and in int8 with ranges from the samples."""
    import nncf

    module = module.eval()
    example = tuple(map(torch.from_numpy, samples[0]))
    with torch.no_grad():
        model = openvino.convert_model(module, example_input=example)
    openvino.save_model(model, f"{path}f32.xml", compress_to_fp16=False)
    data = nncf.Dataset(samples)
    small = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
    openvino.save_model(small, f"{path}int8.xml", compress_to_fp16=False)


def save_minilm(model, folder: Path) -> None:
    """Calibrated on token ids of the vocabulary, seeded."""
    chance, size = numpy.random.default_rng(32), model.config.vocab_size

    def sample(count: int, length: int) -> list[numpy.ndarray]:
        ids = chance.integers(1000, size, (count, length), dtype=numpy.int64)
        ids[:, 0], ids[:, -1] = 101, 102
        return minilm_inputs(ids, numpy.ones_like(ids))

    save(MiniLm(model), [sample(4, length) for length in (16, 32, 64, 128) for _ in range(8)], folder / "openvino_")


def save_clip(model, folder: Path, first: int, last: int) -> None:
    chance, side = numpy.random.default_rng(32), model.config.vision_config.image_size

    def text(count: int, length: int) -> list[numpy.ndarray]:
        ids = chance.integers(0, 512, (count, length), dtype=numpy.int64)
        ids[:, 0], ids[:, -1] = first, last
        return clip_text_inputs(ids)

    save(ClipText(model), [text(4, length) for length in (10, 77) for _ in range(8)], folder / "openvino_text_")
    images = [[chance.normal(size=(2, 3, side, side)).astype(numpy.float32)] for _ in range(8)]
    save(ClipImage(model), images, folder / "openvino_image_")
