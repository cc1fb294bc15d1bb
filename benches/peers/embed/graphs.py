"""The transformers as ONNX graphs in ONNX Runtime's fused operators, as its own optimiser leaves them: one node for
attention with its three projections, one for skip + layer norm, one for bias + GELU."""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

FUSED = "com.microsoft"


class Graph:
    """Nodes and weights, growing."""

    def __init__(self):
        self.nodes, self.weights, self.count = [], [], 0

    def weight(self, array, kind=numpy.float32) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.array(array, dtype=kind, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], outputs: int = 1, domain: str = "", **attributes):
        self.count += 1
        names = [f"{kind}_{self.count}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, f"{kind}_{self.count}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x: str, layer, bias: bool = True) -> str:
        product = self.node("MatMul", [x, self.weight(array(layer.weight).T)])
        return self.node("Add", [product, self.weight(array(layer.bias))]) if bias else product

    def attention(self, x: str, query, key, value, heads: int, mask: str = "", causal: bool = False) -> str:
        weights = numpy.concatenate([array(layer.weight).T for layer in (query, key, value)], axis=1)
        biases = numpy.concatenate([array(layer.bias) for layer in (query, key, value)])
        inputs = [x, self.weight(weights), self.weight(biases), *([mask] if mask else [])]
        return self.node("Attention", inputs, domain=FUSED, num_heads=heads, unidirectional=int(causal))

    def skip_norm(self, x: str, skip: str, norm, bias) -> list[str]:
        """The norm of x + skip + bias, and that sum."""
        inputs = [x, skip, self.weight(array(norm.weight)), self.weight(array(norm.bias)), self.weight(array(bias))]
        output, _, _, total = self.node("SkipLayerNormalization", inputs, 4, FUSED, epsilon=norm.eps)
        # The two in the middle exist for training only.
        del self.nodes[-1].output[1:]
        self.nodes[-1].output.extend(["", "", total])
        return [output, total]

    def norm(self, x: str, norm) -> str:
        inputs = [x, self.weight(array(norm.weight)), self.weight(array(norm.bias))]
        return self.node("LayerNormalization", inputs, epsilon=norm.eps, axis=-1)

    def unit_length(self, x: str) -> str:
        return self.node("LpNormalization", [x], axis=-1, p=2)

    def save(self, path, inputs: list, outputs: list) -> None:
        graph = helper.make_graph(self.nodes, "peer", inputs, outputs, self.weights)
        versions = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)


def array(tensor) -> numpy.ndarray:
    return tensor.detach().float().numpy()


def ids(name: str, kind=TensorProto.INT64):
    return helper.make_tensor_value_info(name, kind, ["batch", "length"])


def floats(name: str, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def rename(graph: Graph, output: str, name: str) -> None:
    graph.nodes.append(helper.make_node("Identity", [output], [name]))


def bert(model, path) -> None:
    """`sentence_embedding` is the mean over the tokens at unit length; `last_hidden_state` is for who pools himself."""
    graph, config, parts = Graph(), model.config, model.embeddings
    ids32 = graph.node("Cast", ["input_ids"], to=TensorProto.INT32)
    types32 = graph.node("Cast", ["token_type_ids"], to=TensorProto.INT32)
    mask32 = graph.node("Cast", ["attention_mask"], to=TensorProto.INT32)
    tables = (parts.word_embeddings, parts.position_embeddings, parts.token_type_embeddings)
    weights = [graph.weight(array(table.weight)) for table in tables]
    norm = [graph.weight(array(parts.LayerNorm.weight)), graph.weight(array(parts.LayerNorm.bias))]
    x, _ = graph.node(
        "EmbedLayerNormalization", [ids32, types32, *weights, *norm], 2, FUSED, epsilon=config.layer_norm_eps
    )
    for layer in model.encoder.layer:
        own, out = layer.attention.self, layer.attention.output
        attended = graph.attention(x, own.query, own.key, own.value, config.num_attention_heads, mask32)
        mixed = graph.linear(attended, out.dense, bias=False)
        x, _ = graph.skip_norm(mixed, x, out.LayerNorm, out.dense.bias)
        wide = graph.linear(x, layer.intermediate.dense, bias=False)
        wide = graph.node("BiasGelu", [wide, graph.weight(array(layer.intermediate.dense.bias))], domain=FUSED)
        narrow = graph.linear(wide, layer.output.dense, bias=False)
        x, _ = graph.skip_norm(narrow, x, layer.output.LayerNorm, layer.output.dense.bias)
    rename(graph, x, "last_hidden_state")
    mask = graph.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    mask = graph.node("Unsqueeze", [mask, graph.weight([-1], numpy.int64)])
    # The mean is a sum divided by a length, and the length falls out at the end.
    total = graph.node("ReduceSum", [graph.node("Mul", [x, mask]), graph.weight([1], numpy.int64)], keepdims=0)
    rename(graph, graph.unit_length(total), "sentence_embedding")
    width = config.hidden_size
    outputs = [floats("last_hidden_state", "batch", "length", width), floats("sentence_embedding", "batch", width)]
    graph.save(path, [ids("input_ids"), ids("attention_mask"), ids("token_type_ids")], outputs)


def clip_layers(graph: Graph, x: str, tower, first_norm, causal: bool) -> str:
    """The layers of one tower; the sum that leaves the last one, before the last norm."""
    config = tower.config
    normed, bias = graph.norm(x, first_norm), None
    layers = list(tower.encoder.layers)
    for index, layer in enumerate(layers):
        own = layer.self_attn
        attended = graph.attention(normed, own.q_proj, own.k_proj, own.v_proj, config.num_attention_heads, "", causal)
        mixed = graph.linear(attended, own.out_proj, bias=False)
        normed, x = graph.skip_norm(mixed, x, layer.layer_norm2, own.out_proj.bias)
        wide = graph.node("QuickGelu", [graph.linear(normed, layer.mlp.fc1)], domain=FUSED, alpha=1.702)
        narrow, bias = graph.linear(wide, layer.mlp.fc2, bias=False), layer.mlp.fc2.bias
        if index + 1 < len(layers):
            normed, x = graph.skip_norm(narrow, x, layers[index + 1].layer_norm1, bias)
        else:
            x = graph.node("Add", [graph.node("Add", [narrow, graph.weight(array(bias))]), x])
    return x


def clip_text(model, path) -> None:
    graph, text = Graph(), model.text_model
    words = graph.node("Gather", [graph.weight(array(text.embeddings.token_embedding.weight)), "input_ids"])
    length = graph.node("Slice", [graph.node("Shape", ["input_ids"]), *(graph.weight([n], numpy.int64) for n in (1, 2))])
    places = graph.weight(array(text.embeddings.position_embedding.weight))
    places = graph.node("Slice", [places, graph.weight([0], numpy.int64), length, graph.weight([0], numpy.int64)])
    x = clip_layers(graph, graph.node("Add", [words, places]), text, text.encoder.layers[0].layer_norm1, True)
    # The end-of-text token is the last one here: no text is padded.
    last = graph.node("Gather", [x, graph.weight(-1, numpy.int64)], axis=1)
    pooled = graph.norm(last, text.final_layer_norm)
    rename(graph, graph.unit_length(graph.linear(pooled, model.text_projection, bias=False)), "vectors")
    width = model.config.projection_dim
    graph.save(path, [ids("input_ids")], [floats("vectors", "batch", width)])


def clip_image(model, path) -> None:
    graph, vision = Graph(), model.vision_model
    parts, config = vision.embeddings, vision.config
    side, patch = config.image_size, config.patch_size
    patches = graph.node(
        "Conv", ["pixel_values", graph.weight(array(parts.patch_embedding.weight))],
        kernel_shape=[patch, patch], strides=[patch, patch],
    )
    patches = graph.node("Reshape", [patches, graph.weight([0, config.hidden_size, -1], numpy.int64)])
    patches = graph.node("Transpose", [patches], perm=[0, 2, 1])
    batch = graph.node("Slice", [graph.node("Shape", ["pixel_values"]), *(graph.weight([n], numpy.int64) for n in (0, 1))])
    shape = graph.node("Concat", [batch, graph.weight([1, config.hidden_size], numpy.int64)], axis=0)
    first = graph.node("Expand", [graph.weight(array(parts.class_embedding).reshape(1, 1, -1)), shape])
    x = graph.node("Concat", [first, patches], axis=1)
    x = graph.node("Add", [x, graph.weight(array(parts.position_embedding.weight))])
    x = graph.norm(x, vision.pre_layrnorm)
    x = clip_layers(graph, x, vision, vision.encoder.layers[0].layer_norm1, False)
    pooled = graph.norm(graph.node("Gather", [x, graph.weight(0, numpy.int64)], axis=1), vision.post_layernorm)
    rename(graph, graph.unit_length(graph.linear(pooled, model.visual_projection, bias=False)), "vectors")
    width = model.config.projection_dim
    graph.save(path, [floats("pixel_values", "batch", 3, side, side)], [floats("vectors", "batch", width)])
