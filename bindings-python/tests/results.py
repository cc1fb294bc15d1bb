"""Responses, events, progress and errors in the form in which the behaviour suite expects them."""

import base64
import json
import re
import traceback
from dataclasses import asdict

import ayni


def plain(value):
    """A result as the suite writes it."""
    if isinstance(value, ayni.Route):
        return {name: field for name, field in asdict(value).items() if field not in (None, ())}
    if isinstance(value, (ayni.Listing, ayni.Answer)):
        return json.loads(value.json)
    fields = {name: getattr(value, name) for name in value.__slots__ if name[0] != "_"}
    fields |= {"usage": asdict(value.usage), "route": plain(value.route)}
    if isinstance(value, ayni.EmbedResponse):
        # The number with the fewest digits that name it.
        fields["vectors"] = [[float(str(number)) for number in row] for row in value.vectors]
        return fields | {"count": len(value), "width": value.vectors.shape[1], "space": asdict(value.space)}
    if isinstance(value, ayni.ImageResponse):
        fields |= {"count": len(value.images), "media_types": [image.media_type for image in value.images]}
        # What is empty is left out.
        fields["safety"] = [asdict(safety) for safety in value.safety] or None
        return fields | {"images": [base64.b64encode(image.data).decode() for image in value.images]}
    lists = ("tool_calls", "logprobs", "annotations", "alternatives")
    return fields | {name: [asdict(one) for one in getattr(value, name)] for name in lists}


def event(value):
    """An event of a stream as the suite writes it."""
    kind = re.sub("(?<!^)(?=[A-Z])", "_", type(value).__name__).lower().removesuffix("_finished")
    kind = kind.replace("annotated", "annotation")
    return {"type": kind, **asdict(value)} | ({"route": plain(value.route)} if kind == "started" else {})


def error(failure, **more):
    names = ("kind", "persistence", "request_id", "sent", "operation", "backend", "message", "context", "partial_text")
    names += ("response_excerpt",)
    wait = failure.retry_after and round(failure.retry_after * 1000)
    shown = {"display": str(failure), "debug": "".join(traceback.format_exception(failure))}
    fields = {name: getattr(failure, name) for name in names} | {"http_status": failure.status, "retry_after_ms": wait}
    return {"error": fields | shown | more}


def progress(told):
    """An event of progress as the suite writes it: only what belongs to its type, times in milliseconds."""
    fields = {name: field for name, field in asdict(told).items() if field is not None}
    fields |= {f"{name}_ms": round(fields[name] * 1000) for name in {"elapsed", "wait"} & fields.keys()}
    fields |= {"preview": base64.b64encode(told.preview).decode()} if told.preview else {}
    names = {"from_backend": "from", "to_backend": "to"} | ({"done": "step"} if told.type == "image_step" else {})
    return {names.get(name, name): field for name, field in fields.items()}
