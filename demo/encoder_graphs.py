"""The two towers of the demo's untrained encoder as ONNX graphs; the weights come from a random generator alone.

The image tower describes a picture by how much there is of each of 128 random colours, most of all of vivid ones near
the middle. The text tower is a random vector for each word, averaged.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

DIMENSION = 128
SIDE_PX = 112
_POOL = 4  # pixels are averaged four by four first: the colours stay, and the work is a sixteenth
_GRID = SIDE_PX // _POOL
_WORD_DIMENSION = 64

_MIDDLE = 0.25  # standard deviation of a pixel's weight around the middle, as a share of the side
_LEAST_CHROMA = 0.02  # so that a picture without colour has weights too
# Lightness, red against green, yellow against blue; lightness changes with the lamp, so it counts less than hue.
_OPPONENT = np.array([[1, 1, 1], [1, -1, 0], [0.5, 0.5, -1]]) * np.array([[0.3], [1.4], [1.6]])
_SHARPNESS = 40.0  # how fast a pixel's share in a colour falls with the squared distance to it
_INVENTED, _TILES = 128, 7
_OPSET, _IR_VERSION = 17, 8


def vision_model(rng: np.random.Generator) -> onnx.ModelProto:
    """`pixel_values` float32 [N, 3, 112, 112], RGB in 0..1, to `image_embeds` [N, 128], not normalised."""
    colours = rng.uniform(0, 1, (DIMENSION, 3))
    # What any picture has in common says nothing about it: embeddings are taken from the mean over invented pictures.
    (embeddings,) = ReferenceEvaluator(_vision_graph(colours, np.zeros(DIMENSION))).run(
        None, {"pixel_values": _invented_pictures(rng)}
    )
    return _vision_graph(colours, np.asarray(embeddings).mean(axis=0))


def _invented_pictures(rng: np.random.Generator) -> NDArray[np.float32]:
    """[_INVENTED, 3, 112, 112]: patchworks of random greys, each under a light of one random tint."""
    greys = rng.uniform(0, 1, (_INVENTED, 1, _TILES, _TILES))
    tint = rng.uniform(-0.5, 0.5, (_INVENTED, 3, 1, 1)) * rng.uniform(0, 1, (_INVENTED, 1, 1, 1))
    tiles = np.clip(greys + tint, 0, 1).astype(np.float32)
    return np.repeat(np.repeat(tiles, SIDE_PX // _TILES, axis=2), SIDE_PX // _TILES, axis=3)


def _vision_graph(colours: NDArray[np.float64], centre: NDArray[np.float64]) -> onnx.ModelProto:
    points = colours @ _OPPONENT.T
    # softmax(-sharpness * |x - point|^2) over the points: |x|^2 is the same for all of them and drops out.
    weights = {
        "blocks": np.array([0, 3, _GRID, _POOL, _GRID, _POOL], np.int64),
        "flat": np.array([0, 3, -1], np.int64),
        "to_points": 2 * _SHARPNESS * _OPPONENT.T @ points.T,
        "bias": -_SHARPNESS * (points**2).sum(axis=1),
        "least": np.array(_LEAST_CHROMA),
        "middle": _middle(),
        "last": np.array([-1], np.int64),
        "row": np.array([1], np.int64),
        "centre": centre,
    }
    nodes = [
        helper.make_node("Reshape", ["pixel_values", "blocks"], ["blocked"]),
        helper.make_node("ReduceMean", ["blocked"], ["small"], axes=[3, 5], keepdims=0),
        helper.make_node("Reshape", ["small", "flat"], ["planes"]),
        helper.make_node("Transpose", ["planes"], ["pixels"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["pixels", "to_points"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["shares"], axis=-1),
        helper.make_node("ReduceMax", ["pixels"], ["highest"], axes=[-1], keepdims=0),
        helper.make_node("ReduceMin", ["pixels"], ["lowest"], axes=[-1], keepdims=0),
        helper.make_node("Sub", ["highest", "lowest"], ["chroma"]),
        helper.make_node("Add", ["chroma", "least"], ["vividness"]),
        helper.make_node("Mul", ["vividness", "vividness"], ["squared"]),
        helper.make_node("Mul", ["squared", "middle"], ["weight"]),
        helper.make_node("ReduceSum", ["weight", "last"], ["total"], keepdims=1),
        helper.make_node("Div", ["weight", "total"], ["part"]),
        helper.make_node("Unsqueeze", ["part", "row"], ["part_row"]),
        helper.make_node("MatMul", ["part_row", "shares"], ["histogram_row"]),
        helper.make_node("Squeeze", ["histogram_row", "row"], ["histogram"]),
        helper.make_node("Sqrt", ["histogram"], ["root"]),  # the Hellinger kernel: many small shares count too
        helper.make_node("Sub", ["root", "centre"], ["image_embeds"]),
    ]
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch_size", 3, SIDE_PX, SIDE_PX])
    return _model("vision", nodes, [pixels], "image_embeds", weights)


def _middle() -> NDArray[np.float64]:
    """[pixels]: a Gaussian around the middle of the picture."""
    axis = (np.arange(_GRID) - (_GRID - 1) / 2) / (_MIDDLE * _GRID)
    line = np.exp(-(axis**2) / 2)
    return np.outer(line, line).reshape(-1)


def text_model(rng: np.random.Generator, vocabulary: int) -> onnx.ModelProto:
    """`input_ids` and `attention_mask` int64 [N, L] to `text_embeds` [N, 128]: a mean of word vectors."""
    weights = {
        "table": rng.normal(0, 1, (vocabulary, _WORD_DIMENSION)),
        "projection": rng.normal(0, _WORD_DIMENSION**-0.5, (_WORD_DIMENSION, DIMENSION)),
        "words": np.array([1], np.int64),
        "last": np.array([-1], np.int64),
        "one": np.array(1.0),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask_column"]),
        helper.make_node("Mul", ["vectors", "mask_column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "words"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "words"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["mean"]),
        helper.make_node("MatMul", ["mean", "projection"], ["text_embeds"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch_size", "sequence_length"])
        for name in ("input_ids", "attention_mask")
    ]
    return _model("text", nodes, inputs, "text_embeds", weights)


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: str,
    weights: dict[str, NDArray[np.float64] | NDArray[np.int64]],
) -> onnx.ModelProto:
    initializers = [
        numpy_helper.from_array(array if array.dtype == np.int64 else array.astype(np.float32), key)
        for key, array in weights.items()
    ]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch_size", DIMENSION])]
    model = helper.make_model(
        helper.make_graph(nodes, name, inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="framematch demo",
    )
    onnx.checker.check_model(model, full_check=True)
    return model
