"""Running a graph in this process, and the errors for one that does not run."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from framematch.core.errors import ModelError
from framematch.model_build.onnx_session import OnnxSession, embed_pictures, first_line
from tests.unit.model_build.convnets import DIMENSION, SIDE, colourful_pictures, convnet

PICTURES = colourful_pictures(5)


def test_pictures_become_unit_vectors() -> None:
    embeddings = OnnxSession(convnet(), threads=1).embed({"pixels": PICTURES})
    assert embeddings.shape == (5, DIMENSION)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_batches_of_any_size_give_the_same_embeddings() -> None:
    session = OnnxSession(convnet(), threads=1)
    whole = session.embed({"pixels": PICTURES})
    np.testing.assert_allclose(embed_pictures(session, PICTURES, batch_size=2), whole, atol=1e-6)


def test_threads_may_share_a_session() -> None:
    session = OnnxSession(convnet(), threads=1)
    expected = session.embed({"pixels": PICTURES})
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: session.embed({"pixels": PICTURES}), range(16)))
    assert all(np.array_equal(one, expected) for one in found)


def test_invalid_bytes_are_one_clear_error() -> None:
    with pytest.raises(ModelError, match="ONNX Runtime cannot run the graph: ") as caught:
        OnnxSession(b"no graph")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "inputs",
    [
        {"pixels": PICTURES.astype(np.float32)},
        {"pixels": np.zeros((1, SIDE, SIDE, 4), np.uint8)},
        {"picture": PICTURES},
        {},
    ],
)
def test_inputs_that_the_graph_refuses_are_one_clear_error(inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match="the graph does not run: ") as caught:
        OnnxSession(convnet(), threads=1).embed(inputs)
    assert "\n" not in str(caught.value)


def test_an_error_without_a_message_is_named_by_its_type() -> None:
    assert first_line(RuntimeError("first\nsecond")) == "first"
    assert first_line(RuntimeError()) == "RuntimeError"
