"""The classes of answers, events and reports have the fields that native code writes: docs/reference/answers.schema.json."""

import dataclasses
import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import ayni
from ayni import _answers, _results

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/reference/answers.schema.json").read_text())["$defs"]

SAME = (
    "Alternative", "Annotation", "ChatResponse", "EmbeddingSpace", "Hardware", "ImageModelInfo", "ImageSafety", "Limits",
    "Match", "ModeInfo", "Parity", "ProbeParity", "Route", "RouteFailure", "SafetyConcept", "SourceInfo", "TokenLogprob",
    "ToolCall", "Usage",
)  # fmt: skip
# A class stands for both kinds of backends; images carry their media types themselves.
OTHERS = {"ProcurementInfo": "BackendInfo"}
EVENTS = {
    "started": ayni.Started, "text": ayni.Text, "reasoning": ayni.Reasoning, "tool_call_started": ayni.ToolCallStarted,
    "tool_call_arguments": ayni.ToolCallArguments, "tool_call": ayni.ToolCallFinished, "part": ayni.PartFinished,
    "annotation": ayni.Annotated, "metadata": ayni.Metadata, "logprobs": ayni.Logprobs, "finish": ayni.Finish,
}  # fmt: skip


def named(name):
    return next(getattr(module, name) for module in (ayni, _answers, _results) if hasattr(module, name))


def fields(kind):
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("definition", [*SAME, *OTHERS])
def test_a_class_has_the_fields_of_its_definition(definition):
    assert fields(named(OTHERS.get(definition, definition))) == SCHEMA[definition]["properties"].keys()


def test_an_image_response_has_its_fields():
    assert fields(ayni.ImageResponse) == SCHEMA["ImageResponse"]["properties"].keys() - {"count", "media_types"}


def test_every_event_has_a_class_with_its_fields():
    found = {}
    for variant in SCHEMA["ChatEvent"]["oneOf"]:
        found[variant["properties"]["type"]["const"]] = variant["properties"].keys() - {"type"}
    assert found == {kind: fields(event) for kind, event in EVENTS.items()}


def test_progress_has_every_field():
    variants = SCHEMA["Progress"]["oneOf"]
    names = set().union(*(variant["properties"].keys() for variant in variants))
    assert fields(ayni.Progress) == {_results._NAMES.get(name, name.removesuffix("_ms")) for name in names}
    kinds = {variant["properties"]["type"]["const"] for variant in variants}
    assert kinds == set(get_args(get_type_hints(ayni.Progress)["type"]))
