"""The image engine: ``/generate``, ``/refine``, ``/replay``."""

import asyncio
import base64
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from ayni import AyniError, Image, ImageGenerator, ImageResponse, Progress, ResponseInvalid, Unsupported, health
from ayni.fastapi._clip import decoded_off_loop
from ayni.fastapi._guard import LOG, text_route
from ayni.fastapi._pages import Form, Input
from ayni.fastapi._progress import DOCUMENTED_EVENTS, accepts_events, answered
from ayni.fastapi._service import Part, ServiceRouter

LONGEST_PROMPT = 20_000
MOST_IMAGES = 8
# How long an answer about an engine counts, and how long one is waited for.
ENGINE_STATUS_SECONDS = 5.0
ENGINE_SECONDS = 0.9


class GenerateBody(BaseModel):
    """What to make."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {"prompt": "a red fox in the snow", "aspectRatio": "1:1", "temperature": 0.7, "resolution": "standard"}
            ]
        },
    )
    prompt: str = Field(min_length=1, max_length=LONGEST_PROMPT)
    aspect_ratio: str | None = Field(default=None, alias="aspectRatio", pattern=r"^[1-9]\d{0,3}:[1-9]\d{0,3}$")
    temperature: float | None = Field(default=None, ge=0, le=10, allow_inf_nan=False)
    resolution: Literal["high", "standard"] | None = None


class RefineSettings(BaseModel):
    """How to change it."""

    model_config = ConfigDict(populate_by_name=True)
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance_scale: float | None = Field(default=None, alias="guidanceScale", ge=0, le=100, allow_inf_nan=False)
    strength: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    """How much of the image changes; an engine that does not know it refuses it."""


class RefineBody(BaseModel):
    """What to change."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "refinePrompt": "make it night",
                    "images": [
                        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
                    ],
                    "config": {"steps": 4, "guidanceScale": 1.0},
                }
            ]
        },
    )
    refine_prompt: str = Field(alias="refinePrompt", min_length=1, max_length=LONGEST_PROMPT)
    # The first fault ends the check: a long list of wrong items would become as many errors.
    images: Annotated[list[str], Field(min_length=1, max_length=MOST_IMAGES, fail_fast=True)]
    config: RefineSettings | None = None


class Images(BaseModel):
    """Images as base64, and how they were made."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"images": ["iVBORw0KGgo…"], "model": "sdxl-lightning"}]})
    images: list[str]
    model: str | None = None
    seed: int | None = None
    steps: int | None = None
    scheduler: str | None = None
    served_by: str | None = None
    """Which backend served, where there are several."""
    ignored: list[str] = []
    """What of the request the backend has no notion of."""
    safety: list[dict[str, Any]] | None = None
    """What the safety checker said of each image, where one ran: ``flagged``, ``blanked`` and ``concepts``."""


class ReplayBody(BaseModel):
    """An image to be drawn again by the receipt in it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": "iVBORw0KGgo…", "sources": []}]})
    image: str
    sources: Annotated[list[str], Field(max_length=MOST_IMAGES, fail_fast=True)] = []
    """What a refined image was made from: the image, and the mask where there was one."""


class Replay(BaseModel):
    """The image that came out, how the first was made, and how far they are apart."""

    image: str
    receipt: dict[str, Any]
    max_difference: int
    """The largest difference of a channel of a pixel, of 255."""
    mean_difference: float


class GeneratorPart(Part):
    """An image generator."""

    name = "images"

    def __init__(self, generator: ImageGenerator | Mapping[str, Any] | None) -> None:
        self._config = None if isinstance(generator, ImageGenerator) else generator
        self._owned = not isinstance(generator, ImageGenerator)
        self._generator = generator if isinstance(generator, ImageGenerator) else None
        self._asking, self._asked = asyncio.Lock(), -ENGINE_STATUS_SECONDS * 2
        self._engines: Mapping[str, Any] = {}

    @property
    def generator(self) -> ImageGenerator:
        """The generator."""
        if self._generator is None:
            self._generator = ImageGenerator.from_env() if self._config is None else ImageGenerator(self._config)
        return self._generator

    async def load(self) -> None:
        """Opens the generator, so that a wrong configuration shows at once, and loads a local model."""
        LOG.info("image generator", extra={"model": self.generator.info().model})
        await self.generator.ready()
        if os.environ.get("TORCH_COMPILE", "").strip() not in ("", "0"):
            LOG.info("TORCH_COMPILE is set; there is nothing to compile here")

    async def close(self) -> None:
        """Lets go of a generator that was opened here."""
        if self._owned and self._generator is not None:
            self._generator.close()
            self._generator = None

    def health(self) -> Mapping[str, Any]:
        """What is known without asking."""
        info = self.generator.info()
        found: dict[str, Any] = {
            "device": info.device or ("cpu" if info.host is None else "remote"),
            "model": info.model,
            "backend": info.backend,
            "precision": info.precision,
            "scheduler": None,
            "optimisations": [],
        }
        if (model := info.image_model) is not None:
            found["scheduler"], found["optimisations"] = model.scheduler, list(model.optimisations)
            found["recipe"] = {"name": model.recipe, "steps": model.steps, "guidance": model.guidance, "size": model.size}
            found["memory"] = {"weights_bytes": model.weights_bytes, "images_bytes": model.memory_bytes}
            found["safety"] = {"mode": model.safety, "has_checker": model.has_safety_checker}
        return found

    async def diagnose(self) -> Mapping[str, Any]:
        """The same, and what the engines behind it say. Callers without a key ask as often as they like; the engines are
        asked once in a while, one caller waiting for all."""
        async with self._asking:
            if time.monotonic() - self._asked > ENGINE_STATUS_SECONDS:
                self._engines = await self._ask_engines()
                self._asked = time.monotonic()
        return {**self.health(), **self._engines}

    async def _ask_engines(self) -> Mapping[str, Any]:
        configs = [config for config in self._configs() if config.get("backend") == "image_engine"]
        if not configs:
            return {}
        first, *others = await asyncio.gather(*map(_status, configs))
        return {"engine": first, "fallback_engines": others} if others else {"engine": first}

    def _configs(self) -> list[Mapping[str, Any]]:
        """The configurations of the engine and of those that stand in for it."""
        given = self._config if self._owned else self.generator._config
        config = dict(given or _of_environment())
        fallback = config.pop("fallback", None) or []
        config.pop("policy", None)
        return [config, *({name: value for name, value in one.items() if name != "policy"} for one in fallback)]

    def previews(self, request: Request) -> dict[str, Any]:
        """The option that asks for previews: a model in this process has it, unless nobody may see what its safety checker
        finds. What stands in for it would not know it."""
        is_local = all(config.get("backend", "local") == "local" for config in self._configs())
        model = self.generator.info().image_model
        is_hidden = model is not None and model.safety in ("blank", "refuse")
        return {"extra": {"previews": True}} if is_local and not is_hidden and accepts_events(request) else {}

    def is_paid(self) -> bool:
        """Whether somebody else's service makes the images."""
        return self.generator.info().host is not None

    def forms(self) -> Sequence[Form]:
        """A prompt, and a prompt with an image."""
        prompt = Input("prompt", "What the image shows", "text", "a red fox in the snow")
        shape = Input("shape", "Shape", "choice", "1:1", ["1:1", "16:9", "9:16", "4:3", "3:4"])
        change = Input("prompt", "What to change", "text", "make it night")
        image = Input("image", "Image", "image")
        made = {"prompt": "$prompt", "aspectRatio": "$shape"}
        return (
            Form("Make an image", "/generate", [prompt, shape], "images", made),
            Form("Change an image", "/refine", [change, image], "images", {"refinePrompt": "$prompt", "images": ["$image"]}),
        )


async def _status(config: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return await health(config, deadline=ENGINE_SECONDS)
    except AyniError as error:
        return {"reachable": False, "problem": error.message}


def _of_environment() -> Mapping[str, Any]:
    """The engine of the environment, as the generator opens it."""
    if os.environ.get("IMAGE_ENGINE_MODE", "").strip() == "local":
        return {}
    named = (os.environ.get(name, "").strip() for name in ("CLOUD_ENGINE_URL", "VITE_CLOUD_ENGINE_URL"))
    url = next(filter(None, named), None)
    return {"backend": "image_engine", "url": url} if url else {}


def _base64(image: Image) -> str:
    return base64.b64encode(image.data).decode("ascii")


def _answer(made: list[ImageResponse], ignored: list[str]) -> Images:
    first = made[0]
    return Images(
        images=[_base64(image) for one in made for image in one.images],
        model=first.route.model,
        seed=first.seed,
        steps=first.steps,
        scheduler=first.scheduler,
        served_by=first.route.backend,
        ignored=ignored,
        safety=[asdict(safety) for one in made for safety in one.safety] or None,
    )


async def _generated(generator: ImageGenerator, body: GenerateBody, **more: Any) -> tuple[ImageResponse, list[str]]:
    """Callers of an engine always send a temperature and a resolution; hosted models may know neither. What is left out
    then is told."""
    options: dict[str, Any] = {"aspect_ratio": body.aspect_ratio, **more}
    options |= {"resolution": body.resolution, "temperature": body.temperature}
    ignored: list[str] = []
    while True:
        try:
            return await generator.generate(body.prompt, **options), ignored
        except Unsupported as error:
            # It names what it does not offer, before anything is sent.
            named = [name for name in ("temperature", "resolution") if options.get(name) is not None]
            named = [name for name in named if name in error.message]
            if not named or error.sent != "no":
                raise
            for name in named:
                options[name] = None
            ignored += named


async def _refined(generator: ImageGenerator, body: RefineBody, images: list[bytes], **more: Any) -> Images:
    settings = body.config or RefineSettings()
    options = {"steps": settings.steps, "guidance": settings.guidance_scale, "strength": settings.strength, **more}
    most = generator.info().limits.max_images or len(images)
    made = [
        await generator.refine(body.refine_prompt, images[start : start + most], **options)
        for start in range(0, len(images), most)
    ]
    answer = _answer(made, [])
    if len(answer.images) != len(images):
        raise ResponseInvalid(f"the backend made {len(answer.images)} images of {len(images)}")
    return answer


def image_router(generator: ImageGenerator | Mapping[str, Any] | None = None) -> ServiceRouter:
    """Images from prompts, and from images and prompts.

    Without a generator it is that of the environment (``CLOUD_ENGINE_URL``). An object is a configuration, whose
    ``fallback`` is what callers know as the mode Auto. Callers who accept ``text/event-stream`` get progress, of a model in
    this process with previews, before the answer.
    """
    part = GeneratorPart(generator)
    router = ServiceRouter(part, tags=["images"])

    @router.post("/generate", response_model=Images, responses=DOCUMENTED_EVENTS, summary="Images from a prompt")
    @text_route
    async def generate(body: GenerateBody, request: Request) -> Any:
        async def work(progress: Callable[[Progress], None]) -> Images:
            made, ignored = await _generated(part.generator, body, progress=progress, **part.previews(request))
            return _answer([made], ignored)

        return await answered(request, work)

    @router.post("/refine", response_model=Images, responses=DOCUMENTED_EVENTS, summary="One image for each image")
    async def refine(body: RefineBody, request: Request) -> Any:
        images = [await decoded_off_loop(image, "images") for image in body.images]

        async def work(progress: Callable[[Progress], None]) -> Images:
            return await _refined(part.generator, body, images, progress=progress, **part.previews(request))

        return await answered(request, work)

    @router.post("/replay", response_model=Replay, responses=DOCUMENTED_EVENTS, summary="An image again, by its receipt")
    async def replay(body: ReplayBody, request: Request) -> Any:
        image, *sources = [await decoded_off_loop(given, "image") for given in (body.image, *body.sources)]

        async def work(progress: Callable[[Progress], None]) -> Replay:
            again = await part.generator.replay(image, *sources, progress=progress)
            return Replay(
                image=_base64(again.image),
                receipt=again.receipt,
                max_difference=again.max_difference,
                mean_difference=again.mean_difference,
            )

        return await answered(request, work)

    return router
