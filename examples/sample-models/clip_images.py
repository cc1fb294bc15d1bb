"""What tiny:clip sees of a drawing, how its image tower begins, and the steps of its training."""

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
from torch.optim.swa_utils import AveragedModel
from transformers import CLIPModel

# Drawings are rendered larger than the models take them, and shifted, turned and scaled into their pixels.
RENDERED, SIZE, PATCH = 64, 48, 6
WIDTH = 128
# Of how many processes this is which (`torchrun`), and how many drawings each takes at a time.
PROCESSES, RANK = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
BATCH = -(-256 // PROCESSES)
# Cosines are this many times larger in a softmax.
SHARPNESS = 24.0
# Patches of an image that are seen, of 64, until the rate falls: less work, and no harm if the end of the training sees all.
KEPT_PATCHES = 40
# The part of the steps in which the rate falls.
FALL = 0.3
REPORT_EVERY = 200


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
    """The mean of the last states, of some hundred steps."""

    @torch.no_grad()
    def mean(means: list[torch.Tensor], states: list[torch.Tensor], count: torch.Tensor) -> None:
        torch._foreach_lerp_(means, states, 1 - min(0.997, (1 + float(count)) / (10 + float(count))))

    return AveragedModel(module, multi_avg_fn=mean)


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
    modules: list[nn.Module], steps: int, rate: float, loss_of: Callable[[], torch.Tensor],
    report: Callable[[list[nn.Module], int], object], before_first: Callable[[], None], at_fall: Callable[[], None],
) -> None:
    """Trains modules, and reports the means of their last states. Those are copies, made before `before_first`."""
    optimiser, means, pace = optimiser_of(*modules), [averaged(module) for module in modules], Pace(steps, rate)
    start, wall, recent = time.process_time(), time.time(), 0.0
    before_first()
    for now in pace:
        if pace.step == pace.steps - pace.fall:
            at_fall()
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
        is_last = pace.step + 1 == pace.steps
        if RANK == 0 and (is_last or (pace.step + 1) % REPORT_EVERY == 0):
            spent = f"{time.process_time() - start:.0f} CPU-s of each process, {time.time() - wall:.0f} s"
            print(f"{pace.step + 1}/{pace.steps} loss {recent:.3f} {spent} {report([mean.module for mean in means], pace.step + 1)}", flush=True)


def drop_patches(model: CLIPModel, generator: torch.Generator):
    """Has the image tower see only some patches of each image, until what this returns is removed."""

    def some(_module, _inputs, states: torch.Tensor) -> torch.Tensor:
        order = torch.rand(len(states), states.shape[1] - 1, generator=generator).argsort(1)[:, :KEPT_PATCHES] + 1
        chosen = states.gather(1, order[..., None].expand(-1, -1, states.shape[2]))
        return torch.cat([states[:, :1], chosen], 1)

    return model.vision_model.embeddings.register_forward_hook(some)


class Asked:
    """Which thing a drawing shows, among all of which there are drawings."""

    def __init__(self, lessons: Lessons, things: int, generator: torch.Generator) -> None:
        self.lessons, self.generator = lessons, generator
        self.drawn = lessons.things.unique()
        self.column = torch.full((things,), -1)
        self.column[self.drawn] = torch.arange(len(self.drawn))

    def some(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Altered drawings, and the columns of their things."""
        rows = torch.multinomial(self.lessons.weights, BATCH, generator=self.generator)
        return altered(self.lessons.images[rows], self.lessons.may_flip[rows], self.generator), self.column[self.lessons.things[rows]]

    def loss(self, vectors: torch.Tensor, columns: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        # A thing without a drawing is told by its words alone, and is no answer here.
        return functional.cross_entropy(among(vectors, table[self.drawn]), columns, label_smoothing=0.1)
