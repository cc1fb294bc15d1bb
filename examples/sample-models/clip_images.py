"""The image side of tiny:clip: what the networks see of a drawing, the network that teaches, and the training of both.

A transformer learns little from a few thousand drawings. So a small convolutional network learns first, and the image
tower of CLIP learns from it, on any number of altered drawings.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPModel

# Drawings are rendered larger than the models take them, and shifted, turned and scaled into their pixels.
RENDERED, SIZE, PATCH = 64, 48, 6
WIDTH = 128
# Of how many processes this is which (`torchrun`), and how many drawings each takes at a time.
PROCESSES, RANK = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
BATCH = -(-128 // PROCESSES)
# Cosines are this many times larger in a softmax.
SHARPNESS = 24.0
# The part of the steps in which the rate falls.
FALL = 0.3


def normalised(rgb: torch.Tensor) -> torch.Tensor:
    """Numbers of a tower from colours in [0, 1]: white paper is nothing."""
    return (rgb - 1) * 2


def on_white(images: torch.Tensor) -> torch.Tensor:
    """Drawings as a user has them: `[image, 3, SIZE, SIZE]`."""
    rgba = images.float() / 255
    rgb = rgba[:, :3] * rgba[:, 3:] + 1 - rgba[:, 3:]
    return normalised(functional.interpolate(rgb, SIZE, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1))


def altered(images: torch.Tensor, may_flip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shifted, turned, scaled, coloured and set on a background, which is white more often than not."""
    count = len(images)

    def spread(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    def column(values: torch.Tensor) -> torch.Tensor:
        return values.view(-1, 1, 1, 1)

    angle, across, down = spread(-0.2, 0.2), spread(0.88, 1.2), spread(0.94, 1.06)
    across = across * torch.where(may_flip & (spread(0, 1) < 0.5), -1.0, 1.0)
    down = across.abs() * down
    first = torch.stack([torch.cos(angle) * across, -torch.sin(angle) * across, spread(-0.1, 0.1)], 1)
    second = torch.stack([torch.sin(angle) * down, torch.cos(angle) * down, spread(-0.1, 0.1)], 1)
    grid = functional.affine_grid(torch.stack([first, second], 1), [count, 4, SIZE, SIZE], align_corners=False)
    rgba = images.float() / 255
    rgba = functional.grid_sample(torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1), grid, align_corners=False)
    alpha = rgba[:, 3:]
    colour = rgba[:, :3] / alpha.clamp(min=1e-3)
    grey = colour.mean(1, keepdim=True)
    # Sometimes hardly any colour, always somewhat others: the sets colour things as they like.
    saturation = column(torch.where(spread(0, 1) < 0.12, spread(0, 0.3), spread(0.6, 1.3)))
    tint = 1 + 0.3 * (torch.rand(count, 3, 1, 1, generator=generator) - 0.5)
    colour = (grey + (colour - grey) * saturation) * tint
    colour = ((colour - 0.5) * column(spread(0.75, 1.2)) + 0.5 + column(spread(-0.1, 0.1))).clamp(0, 1)
    other = torch.rand(count, 3, 1, 1, generator=generator)
    background = torch.where(column(spread(0, 1)) < 0.85, torch.ones(()), other)
    return normalised(with_holes(colour * alpha + background * (1 - alpha), background, generator))


def with_holes(rgb: torch.Tensor, background: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Some drawings lack a square."""
    count, side = len(rgb), rgb.shape[-1]
    place = torch.arange(side).view(1, -1)
    start = torch.randint(-side // 4, side, (2, count, 1), generator=generator)
    length = torch.randint(0, side // 3, (count, 1), generator=generator) * (torch.rand(count, 1, generator=generator) < 0.3)
    down, across = ((place >= one) & (place < one + length) for one in start)
    return torch.where((down[:, :, None] & across[:, None, :])[:, None], background, rgb)


def unit(inputs: int, outputs: int, stride: int = 1, side: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.one, self.two, self.past = unit(inputs, outputs, 2), unit(outputs, outputs), unit(inputs, outputs, 2, 1)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.two(functional.relu(self.one(states))) + self.past(states))


class Teacher(nn.Module):
    """A small residual network. It gives vectors, and maps of 12 and of 6 places a side."""

    CHANNELS = (24, 48, 96, 192, 320)

    def __init__(self) -> None:
        super().__init__()
        first, *rest = self.CHANNELS
        self.stem = unit(3, first)
        self.blocks = nn.ModuleList(Block(one, other) for one, other in zip(self.CHANNELS, rest))
        self.last = nn.Linear(rest[-1], WIDTH)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        states = functional.relu(self.stem(pixels.contiguous(memory_format=torch.channels_last)))
        maps = []
        for block in self.blocks:
            states = block(states)
            maps.append(states)
        return functional.normalize(self.last(states.mean((2, 3))).float(), dim=-1), maps[1:3]


class Concepts(nn.Module):
    """A vector for each thing: what its words say of it, and what its drawings add."""

    def __init__(self, said: torch.Tensor) -> None:
        super().__init__()
        said = said - said.mean(0)
        directions = torch.linalg.svd(said, full_matrices=False)[2][:WIDTH]
        self.register_buffer("said", functional.normalize(said, dim=1))
        self.map = nn.Linear(said.shape[1], WIDTH, bias=False)
        self.map.weight.data.copy_(directions)
        self.own = nn.Parameter(torch.zeros(len(said), WIDTH))

    def forward(self) -> torch.Tensor:
        return functional.normalize(self.map(self.said) + self.own, dim=1)


def look_at_neighbours(model: CLIPModel) -> None:
    """Has each head of the image tower begin as one place of a 3 × 3 convolution: it attends to the patch in one
    direction. 16 numbers of a token say where it is, four frequencies for each axis; turning them is a step."""
    vision, side = model.vision_model, SIZE // PATCH
    rates = torch.tensor([1.0, 3.0, 5.0, 7.0]) * math.pi / side
    held = 4 * len(rates)
    angles = torch.arange(side)[:, None] * rates
    axis = torch.stack([torch.cos(angles), torch.sin(angles)], 2).flatten(1)
    where = torch.cat([axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)], 2).flatten(0, 1)
    with torch.no_grad():
        positions = vision.embeddings.position_embedding.weight
        positions.copy_(torch.randn(WIDTH).expand_as(positions))
        positions[:, :held] = 0
        positions[1:, :held] = where
        vision.embeddings.patch_embedding.weight.normal_(std=0.08)
        vision.embeddings.patch_embedding.weight[:held] = 0
        steps = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across]
        for index, layer in enumerate(vision.encoder.layers):
            attention, far = layer.self_attn, 2 if index % 3 == 2 else 1
            heads = attention.num_heads if index + 1 < len(vision.encoder.layers) else attention.num_heads // 2
            for head, (down, across) in zip(range(heads), steps):
                rows = slice(head * held, (head + 1) * held)
                turned = torch.cat([rates * down, rates * across]) * far
                cos, sin = torch.cos(turned), torch.sin(turned)
                turn = torch.block_diag(*(torch.tensor([[c, -s], [s, c]]) for c, s in zip(cos.tolist(), sin.tolist())))
                attention.q_proj.weight[rows, :held] = 2.2 * turn
                attention.k_proj.weight[rows, :held] = 2.2 * torch.eye(held)
            attention.out_proj.weight[:held] = 0
            layer.mlp.fc2.weight[:held] = 0


class Pace:
    """A rate that rises, stays, and falls to nothing in the last part of the steps. SIGUSR1 begins the fall at once."""

    def __init__(self, steps: int, rate: float) -> None:
        self.step, self.steps, self.rate, self.fall = 0, steps, rate, max(1, int(FALL * steps))
        self.is_asked_to_end = False
        signal.signal(signal.SIGUSR1, self.ask)

    def ask(self, *_) -> None:
        self.is_asked_to_end = True

    def end(self) -> None:
        """As if so many steps had been asked for that the fall begins now."""
        self.is_asked_to_end = False
        self.steps = min(self.steps, max(1, math.ceil(self.step / (1 - FALL))))
        self.fall = max(1, int(FALL * self.steps))

    def __iter__(self):
        while self.step < self.steps:
            yield self.rate * min(1.0, (self.step + 1) / 100, (self.steps - self.step) / self.fall)
            self.step += 1


@dataclass
class Lessons:
    """Drawings to learn from, which thing each shows, how often each comes, and whether it may be mirrored."""

    images: torch.Tensor
    things: torch.Tensor
    weights: torch.Tensor
    may_flip: torch.Tensor


def averaged(module: nn.Module) -> AveragedModel:
    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.997), use_buffers=True)


def optimiser_of(*modules: nn.Module, decay: float = 0.05) -> torch.optim.Optimizer:
    all_of_them = [value for module in modules for value in module.parameters()]
    groups = [{"params": [value for value in all_of_them if value.dim() > 1], "weight_decay": decay}]
    groups.append({"params": [value for value in all_of_them if value.dim() <= 1], "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


def share(modules: list[nn.Module], pace: Pace) -> None:
    """The mean of the gradients of all processes; what one is asked to end, all end."""
    grads = [value.grad for module in modules for value in module.parameters() if value.grad is not None]
    flat = torch.cat([*(grad.flatten() for grad in grads), torch.tensor([float(pace.is_asked_to_end)])])
    if PROCESSES > 1:
        distributed.all_reduce(flat)
        flat /= PROCESSES
    for grad, part in zip(grads, flat[:-1].split([grad.numel() for grad in grads])):
        grad.copy_(part.view_as(grad))
    if flat[-1] > 0:
        pace.end()


def among(vectors: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return SHARPNESS * vectors @ table.T


def steps_of(
    name: str, modules: list[nn.Module], steps: int, rate: float, loss_of: Callable[[], torch.Tensor],
    report: Callable[[list[nn.Module], int], object], every: int,
) -> tuple[list[nn.Module], int]:
    """Trains modules, and returns the mean of their last states, and how many steps there were."""
    optimiser, means, pace = optimiser_of(*modules), [averaged(module) for module in modules], Pace(steps, rate)
    start, wall, recent = time.process_time(), time.time(), 0.0
    for now in pace:
        for group in optimiser.param_groups:
            group["lr"] = now
        loss = loss_of()
        optimiser.zero_grad()
        loss.backward()
        share(modules, pace)
        torch.nn.utils.clip_grad_norm_([value for module in modules for value in module.parameters()], 1.0)
        optimiser.step()
        for mean, module in zip(means, modules):
            mean.update_parameters(module)
        recent += (loss.item() - recent) * (0.02 if pace.step else 1.0)
        if RANK == 0 and ((pace.step + 1) % every == 0 or pace.step + 1 == pace.steps):
            spent = f"{time.process_time() - start:.0f} CPU-s, {time.time() - wall:.0f} s"
            found = report([mean.module for mean in means], pace.step + 1)
            print(f"{name} {pace.step + 1}/{pace.steps} loss {recent:.3f} {spent} {found}", flush=True)
    return [mean.module for mean in means], pace.steps


def teach(teacher: Teacher, concepts: Concepts, lessons: Lessons, steps: int, generator: torch.Generator, report, every: int):
    """The teacher and the things' vectors, from nothing."""
    drawn = lessons.things.unique()
    column = torch.full((len(concepts.own),), -1)
    column[drawn] = torch.arange(len(drawn))

    def loss_of() -> torch.Tensor:
        rows = torch.multinomial(lessons.weights, BATCH, generator=generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, _ = teacher(altered(lessons.images[rows], lessons.may_flip[rows], generator))
        # A thing without a drawing is told by its words alone, and is no answer here.
        scores = among(found, concepts()[drawn])
        away = concepts.own.square().sum(1).mean()
        return functional.cross_entropy(scores, column[lessons.things[rows]], label_smoothing=0.1) + 8 * away

    return steps_of("teacher", [teacher, concepts], steps, 3e-3, loss_of, report, every)


class Hints(nn.Module):
    """The teacher's maps, foretold by the tokens of two layers at the same places."""

    def __init__(self) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(WIDTH, channels) for channels in Teacher.CHANNELS[2:4])
        self.tokens: dict[int, torch.Tensor] = {}

    def listen(self, model: CLIPModel) -> None:
        layers = model.vision_model.encoder.layers
        for place, layer in enumerate((layers[len(layers) // 2 - 1], layers[-1])):
            layer.register_forward_hook(lambda _module, _inputs, states, place=place: self.tokens.update({place: states}))

    def loss(self, maps: list[torch.Tensor]) -> torch.Tensor:
        total = torch.zeros(())
        for place, (linear, wanted) in enumerate(zip(self.linears, maps)):
            wanted = functional.interpolate(wanted.float(), (SIZE // PATCH,) * 2, mode="bilinear", antialias=True)
            wanted = wanted.flatten(2).transpose(1, 2)
            wanted = wanted - wanted.mean((0, 1))
            found = linear(self.tokens[place][:, 1:]).float()
            total = total + (1 - functional.cosine_similarity(found, wanted, dim=-1)).mean()
        return total


def learn(
    model: CLIPModel, vectors_of: Callable, teacher: Teacher, table: torch.Tensor, lessons: Lessons, steps: int,
    generator: torch.Generator, report, every: int,
):
    """The image tower, from the teacher: what it says of drawings, altered and laid over each other."""
    hints, drawn = Hints(), lessons.things.unique()
    column = torch.full((len(table),), -1)
    column[drawn] = torch.arange(len(drawn))
    answers, half = table[drawn], BATCH // 2
    teacher.eval()

    def seen(rows: torch.Tensor) -> torch.Tensor:
        """Half of the images are two at once: the teacher has something to say of those as well."""
        pixels = altered(lessons.images[rows], lessons.may_flip[rows], generator)
        share = 0.2 + 0.3 * torch.rand(BATCH - half, 1, 1, 1, generator=generator)
        mixed = pixels[half:] * (1 - share) + pixels[: BATCH - half].roll(1, 0) * share
        return torch.cat([pixels[:half], mixed])

    def loss_of() -> torch.Tensor:
        # Not before the mean of the model was made, which is a copy.
        if not hints.tokens:
            hints.listen(model)
        rows = torch.multinomial(lessons.weights, BATCH, generator=generator)
        pixels = seen(rows)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                wanted, maps = teacher(pixels)
            found = vectors_of(model, pixels)
            hinted = hints.loss(maps)
        scores = among(found, answers)
        told = functional.cross_entropy(scores[:half], column[lessons.things[rows[:half]]], label_smoothing=0.1)
        like = functional.cross_entropy(scores, among(wanted, answers).softmax(1))
        near = (1 - (found * wanted).sum(1)).mean()
        return 0.5 * told + like + 3 * near + hinted

    return steps_of("images", [model, hints], steps, 1.5e-3, loss_of, report, every)
