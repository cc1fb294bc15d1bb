"""The libraries that do the same work. Each takes a work and answers with a function that does it once and returns the
vectors; `Absent` says why a library does not do it."""

from pathlib import Path

import numpy


class Absent(Exception):
    """This library does not do this work."""


class Inputs:
    """One work: its texts, their token ids, and how many images."""

    def __init__(self, work: dict, folder: Path):
        self.name, self.model, self.task = work["name"], work["model"], work["task"]
        self.texts, self.ids = work.get("texts", []), work.get("ids", [])
        self.images = [folder / "images" / name for name in work.get("images", [])]

    def padded(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Token ids filled up to the longest with zeros, and the mask that says which are real."""
        longest = max(map(len, self.ids))
        ids = numpy.array([row + [0] * (longest - len(row)) for row in self.ids], dtype=numpy.int64)
        mask = numpy.array([[1] * len(row) + [0] * (longest - len(row)) for row in self.ids], dtype=numpy.int64)
        return ids, mask

    def pixels(self, folder: Path) -> numpy.ndarray:
        """The images as the tensor that CLIP takes."""
        from PIL import Image

        processor = image_processor(folder, "pil")
        return processor([Image.open(path) for path in self.images], return_tensors="np")["pixel_values"]


def image_processor(folder: Path, backend: str):
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(folder / "clip", backend=backend)


def unit_length(vectors):
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


class OnnxRuntime:
    """The fused graph, token ids or pixels in."""

    def __init__(self, minilm: Path, folder: Path, threads: int, precision: str):
        import onnxruntime

        self.folder, self.precision, self.sessions = folder, precision, {}
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.open = lambda path: onnxruntime.InferenceSession(path, self.options, providers=["CPUExecutionProvider"])

    def session(self, name: str):
        if name not in self.sessions:
            self.sessions[name] = self.open(self.folder / f"{name}{self.precision}.onnx")
        return self.sessions[name]

    def prepare(self, work: Inputs):
        if work.task == "image":
            session, feed = self.session("clip/image_"), {"pixel_values": work.pixels(self.folder)}
            return lambda: session.run(["vectors"], feed)[0]
        if work.task != "text":
            raise Absent("it does not read images from files")
        ids, mask = work.padded()
        if work.model == "clip":
            session = self.session("clip/text_")
            return lambda: session.run(["vectors"], {"input_ids": ids})[0]
        session = self.session("minilm/")
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        return lambda: session.run(["sentence_embedding"], feed)[0]


# What is added to a score where a token must not be seen.
HIDDEN = -1e9


def positions(ids: numpy.ndarray) -> numpy.ndarray:
    return numpy.broadcast_to(numpy.arange(ids.shape[1], dtype=numpy.int64), ids.shape).copy()


def causal(ids: numpy.ndarray) -> numpy.ndarray:
    """What a token must not see: those after it."""
    length = ids.shape[1]
    return numpy.triu(numpy.full((1, 1, length, length), HIDDEN, numpy.float32), 1)


def minilm_inputs(ids: numpy.ndarray, mask: numpy.ndarray) -> list[numpy.ndarray]:
    return [ids, mask.astype(numpy.float32), positions(ids)]


def clip_text_inputs(ids: numpy.ndarray) -> list[numpy.ndarray]:
    return [ids, causal(ids), positions(ids)]


class OpenVino:
    """Its own models, token ids or pixels in, compiled for each shape."""

    def __init__(self, minilm: Path, folder: Path, threads: int, precision: str):
        import openvino

        self.core, self.folder = openvino.Core(), folder
        self.file = "int8" if precision == "int8" else "f32"
        kind = openvino.Type.bf16 if precision == "bf16" else openvino.Type.f32
        can = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.why_absent = "this CPU has no bf16" if precision == "bf16" and "BF16" not in can else None
        self.properties = {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": kind, "EXECUTION_MODE_HINT": "PERFORMANCE",
        }  # fmt: skip

    def prepare(self, work: Inputs):
        if self.why_absent:
            raise Absent(self.why_absent)
        if work.task == "image":
            name, inputs = "clip/openvino_image_", [work.pixels(self.folder)]
        elif work.task != "text":
            raise Absent("it does not read images from files")
        elif work.model == "clip":
            name, inputs = "clip/openvino_text_", clip_text_inputs(work.padded()[0])
        else:
            name, inputs = "minilm/openvino_", minilm_inputs(*work.padded())
        model = self.core.read_model(self.folder / f"{name}{self.file}.xml")
        model.reshape({at: list(array.shape) for at, array in enumerate(inputs)})
        request = self.core.compile_model(model, "CPU", self.properties).create_infer_request()
        return lambda: request.infer(inputs, share_inputs=True, share_outputs=True)[0]


class Torch:
    """transformers' own model classes, token ids or pixels in, eagerly or compiled for each shape."""

    def __init__(self, minilm: Path, folder: Path, threads: int, precision: str, is_compiled: bool = False):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.minilm, self.folder, self.is_compiled = torch, minilm, folder, is_compiled
        self.dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.models = {}

    def model(self, name: str):
        if name not in self.models:
            from transformers import BertModel, CLIPModel

            source, kind = {"minilm": (self.minilm, BertModel), "clip": (self.folder / "clip", CLIPModel)}[name]
            self.models[name] = kind.from_pretrained(source, dtype=self.dtype).eval()
        return self.models[name]

    def prepare(self, work: Inputs):
        torch = self.torch
        if work.task not in ("text", "image"):
            raise Absent("it does not read images from files")
        if work.model == "clip" and self.is_compiled:
            raise Absent("compiled for MiniLM only")
        forward, arguments = getattr(self, f"{work.model}_{work.task}")(work)
        if self.is_compiled:
            torch._dynamo.config.cache_size_limit = 64
            forward = torch.compile(forward, dynamic=False)

        def once():
            with torch.inference_mode():
                return forward(*arguments).float().numpy()

        return once

    def minilm_text(self, work: Inputs):
        model, normalize = self.model("minilm"), self.torch.nn.functional.normalize
        ids, mask = map(self.torch.from_numpy, work.padded())
        if bool(mask.all()):
            # Without padding no mask is needed, which is faster.
            return lambda ids: normalize(model(ids).last_hidden_state.mean(1)), [ids]

        def masked(ids, mask):
            states, weights = model(ids, mask).last_hidden_state, mask.unsqueeze(-1)
            return normalize((states * weights).sum(1) / weights.sum(1))

        return masked, [ids, mask]

    def clip_text(self, work: Inputs):
        model, normalize = self.model("clip"), self.torch.nn.functional.normalize
        ids, _ = work.padded()
        tower, projection = model.text_model, model.text_projection
        return lambda ids: normalize(projection(tower(input_ids=ids).pooler_output)), [self.torch.from_numpy(ids)]

    def clip_image(self, work: Inputs):
        model, normalize = self.model("clip"), self.torch.nn.functional.normalize
        pixels = self.torch.from_numpy(work.pixels(self.folder)).to(self.dtype)
        tower, projection = model.vision_model, model.visual_projection
        return lambda pixels: normalize(projection(tower(pixel_values=pixels).pooler_output)), [pixels]


class SentenceTransformers:
    """As its user calls it: texts in."""

    def __init__(self, minilm: Path, folder: Path, threads: int):
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self.model = SentenceTransformer(str(minilm), device="cpu")

    def prepare(self, work: Inputs):
        if work.model != "minilm":
            raise Absent("measured for MiniLM only")
        return lambda: self.model.encode(work.texts, batch_size=32, show_progress_bar=False)


class Fastembed:
    """As its user calls it, with the fused graph as a model of his own: texts in."""

    def __init__(self, minilm: Path, folder: Path, threads: int):
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

        name = "local/all-minilm-l6-v2"
        TextEmbedding.add_custom_model(
            model=name, pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(hf=name), dim=384,
            model_file="model.onnx",
        )
        path = str(folder / "minilm" / "fastembed")
        self.model = TextEmbedding(name, threads=threads, specific_model_path=path)

    def prepare(self, work: Inputs):
        if work.model != "minilm":
            raise Absent("measured for MiniLM only")
        cut = max(len(encoding.ids) for encoding in self.model.model.tokenizer.encode_batch(work.texts))
        if cut < max(map(len, work.ids)):
            raise Absent(f"it cuts texts to {cut} tokens")
        return lambda: numpy.stack(list(self.model.embed(work.texts, batch_size=32)))


class ClipProcessor:
    """A JPEG file read with Pillow and made a tensor by transformers' processor."""

    def __init__(self, minilm: Path, folder: Path, threads: int, backend: str):
        import torch

        torch.set_num_threads(threads)
        self.processor = image_processor(folder, backend)

    def prepare(self, work: Inputs):
        import io

        from PIL import Image

        if work.task != "preprocess":
            raise Absent("it prepares images and nothing else")
        [encoded] = [path.read_bytes() for path in work.images]
        return lambda: numpy.asarray(
            self.processor(Image.open(io.BytesIO(encoded)), return_tensors="pt")["pixel_values"]
        ).reshape(1, -1)


# What each is called in the output, in which order they take turns, and how exact its vectors have to be: the cosine to
# torch in f32.
SIDES = {
    "ort_f32": (OnnxRuntime, ["f32"], 0.99999),
    "ort_int8": (OnnxRuntime, ["int8"], 0.97),
    "openvino_f32": (OpenVino, ["f32"], 0.99999),
    "openvino_bf16": (OpenVino, ["bf16"], 0.999),
    "openvino_int8": (OpenVino, ["int8"], 0.95),
    "torch_f32": (Torch, ["f32"], 0.99999),
    "torch_bf16": (Torch, ["bf16"], 0.999),
    "compile_f32": (Torch, ["f32", True], 0.99999),
    "compile_bf16": (Torch, ["bf16", True], 0.999),
    "sentence_transformers": (SentenceTransformers, [], 0.99999),
    "fastembed": (Fastembed, [], 0.99999),
    "clip_processor_pil": (ClipProcessor, ["pil"], 0.9999),
    "clip_processor_torchvision": (ClipProcessor, ["torchvision"], 0.999),
}


def cosine(ours: numpy.ndarray, theirs: numpy.ndarray) -> float:
    """The least over the rows."""
    return float((unit_length(ours) * unit_length(theirs)).sum(axis=1).min())
