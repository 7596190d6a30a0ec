"""The recipe of the demo's encoder: pretrained weights, the graph of features, texts, and varied pictures."""

import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from demo.model.efficientnet import FEATURES, SIDE_PX, image_tower
from demo.model.grocery import cut_out, load_products
from demo.model.iconic import vary_iconic
from demo.model.text_tower import fit_table, make_tokenizer
from demo.model.weights import read_weights
from framematch.core.errors import ModelError
from framematch.model_build.adapt.discriminant import unit

STAGES = ((16, 3, 1), (24, 3, 2), (40, 5, 2), (80, 3, 2), (112, 5, 1), (192, 5, 2), (320, 3, 1))


class FakeTensor:
    """Pickles like a tensor of PyTorch: a call of `_rebuild_tensor_v2` with the name of a storage."""

    def __init__(self, key: str, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> None:
        self.arguments = (key, offset, shape, stride)


class FilePickler(pickle.Pickler):
    """Writes the names of PyTorch's functions, which need not exist here."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FakeTensor):
            key, *rest = obj.arguments
            return _rebuild_tensor_v2, (FakeStorage(key), *rest, False, OrderedDict())
        return NotImplemented

    def persistent_id(self, obj: Any) -> Any:
        return ("storage", FloatStorage, obj.key, "cpu", 6, None) if isinstance(obj, FakeStorage) else None


class FakeStorage:
    def __init__(self, key: str) -> None:
        self.key = key


def _rebuild_tensor_v2() -> None: ...


class FloatStorage: ...


_rebuild_tensor_v2.__module__ = FloatStorage.__module__ = __name__


def weights_file(content: Any, storages: Mapping[str, list[float]]) -> bytes:
    """A file of PyTorch's old format."""
    file = io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(header, file, protocol=2)
    FilePickler(file, protocol=2).dump(content)
    pickle.dump(list(storages), file, protocol=2)
    for values in storages.values():
        file.write(struct.pack(f"<q{len(values)}f", len(values), *values))
    named = file.getvalue().replace(f"c{__name__}\n_rebuild".encode(), b"ctorch._utils\n_rebuild")
    return named.replace(f"c{__name__}\nFloat".encode(), b"ctorch\nFloat")


class TestWeights:
    def test_tensors_are_read_with_their_shapes_strides_and_offsets(self) -> None:
        content = OrderedDict(a=FakeTensor("1", (2, 2), (1, 2)), b=FakeTensor("1", (2,), (1,), offset=4))
        found = read_weights(weights_file(content, {"1": [0, 1, 2, 3, 4, 5]}))
        assert {name: value.tolist() for name, value in found.items()} == {"a": [[0, 2], [1, 3]], "b": [4, 5]}

    def test_a_file_that_would_run_code_is_refused(self) -> None:
        with pytest.raises(ModelError, match=r"__builtin__.print"):
            read_weights(weights_file({"a": print}, {}))

    def test_a_tensor_that_leaves_its_storage_is_refused(self) -> None:
        content = OrderedDict(a=FakeTensor("1", (3,), (1,), offset=4))
        with pytest.raises(ModelError, match="cannot be read"):
            read_weights(weights_file(content, {"1": [0, 1, 2, 3, 4, 5]}))

    def test_a_file_that_is_cut_short_is_refused(self) -> None:
        whole = weights_file(OrderedDict(a=FakeTensor("1", (6,), (1,))), {"1": [0, 1, 2, 3, 4, 5]})
        for size in (0, 10, len(whole) - 4):
            with pytest.raises(ModelError, match="cannot be read"):
                read_weights(whole[:size])


def random_weights() -> dict[str, np.ndarray]:
    """Weights of the network with one block in each stage."""
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}

    def layer(name: str, norm: str, *shape: int) -> None:
        made[f"{name}.weight"] = (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for part, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -1, 1),
            ("running_mean", -1, 1),
            ("running_var", 0.5, 2),
        ):
            made[f"{norm}.{part}"] = rng.uniform(low, high, shape[0]).astype(np.float32)

    layer("_conv_stem", "_bn0", 32, 3, 3, 3)
    channels = 32
    for number, (out, kernel, _) in enumerate(STAGES):
        name, wide = f"_blocks.{number}.", channels * (6 if number else 1)
        if number:
            layer(f"{name}_expand_conv", f"{name}_bn0", wide, channels, 1, 1)
        layer(f"{name}_depthwise_conv", f"{name}_bn1", wide, 1, kernel, kernel)
        layer(f"{name}_project_conv", f"{name}_bn2", out, wide, 1, 1)
        channels = out
    layer("_conv_head", "_bn1", 1280, 320, 1, 1)
    return made


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, SIDE_PX, SIDE_PX)).astype(np.float32)


class TestImageTower:
    def test_a_convolution_with_its_norm_equals_the_same_in_numpy(self) -> None:
        weights = random_weights()
        model = image_tower(weights)
        added: dict[str, list[int | str]] = {"views": ["M", 3, 160, 160], "_conv_stem.active": ["M", 32, 80, 80]}
        for name, shape in added.items():
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        views, found = session_of(model).run(list(added), {"pixel_values": pictures(1)})
        padded = np.pad(views[0], ((0, 0), (0, 1), (0, 1)))  # SAME: 79 steps of 2 and a kernel of 3 need one more pixel
        patch = padded[:, 158:161, 20:23]
        plain = (weights["_conv_stem.weight"] * patch).sum(axis=(1, 2, 3))
        normed = (plain - weights["_bn0.running_mean"]) / np.sqrt(weights["_bn0.running_var"] + 1e-3)
        wanted = np.clip(normed * weights["_bn0.weight"] + weights["_bn0.bias"], 0, 6)
        np.testing.assert_allclose(found[0, :, 79, 10], wanted, atol=1e-4)

    def test_it_gives_the_features_of_each_picture(self) -> None:
        session, pixels = session_of(image_tower(random_weights())), pictures(2)
        both = session.run(None, {"pixel_values": pixels})[0]
        assert both.shape == (2, FEATURES)
        np.testing.assert_allclose(session.run(None, {"pixel_values": pixels[1:]})[0], both[1:], atol=1e-4)
        np.testing.assert_allclose((both**2).sum(axis=1), 2.0, rtol=1e-4)  # the head's 1, and a quarter of each stage


class TestTexts:
    def test_a_part_of_names_is_near_all_products_that_have_it(self) -> None:
        products = load_products()
        centres = unit(np.random.default_rng(0).normal(size=(len(products), 40)).astype(np.float32))
        tokenizer = make_tokenizer(products)
        table = fit_table(products, centres, tokenizer)
        asked = table[tokenizer.encode("apple juice", add_special_tokens=False).ids].mean(axis=0)
        best = (centres @ asked).argsort()[-3:]
        assert {products[row].name.split(" ", 1)[1] for row in best} <= {"Apple Juice", "Morgon Apple Juice"}


class TestIconic:
    def test_copies_have_the_asked_side_and_differ(self) -> None:
        iconic = load_products()[0].iconic
        photo = np.full((50, 70, 3), 90, np.uint8)
        first, second = (vary_iconic(iconic, photo, 64, np.random.default_rng(seed)) for seed in (0, 1))
        assert first.shape == (64, 64, 3)
        assert (first != second).any()

    def test_a_cut_out_leaves_the_white_around_a_product(self) -> None:
        picture = np.full((20, 20, 3), 255, np.uint8)
        picture[5:15, 5:15] = (200, 0, 0)
        picture[9:11, 9:11] = 255  # white inside of the product
        share = cut_out(picture)
        assert share[10, 10] == 1
        assert share[0, 0] == 0
