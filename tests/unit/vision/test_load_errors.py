"""Hints for a model that Triton could not load."""

import pytest

from framematch.vision.load_errors import load_hint


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Invalid argument: unable to find backend library for backend 'onnxruntime', try specifying", "onnxruntime"),
        ("unable to find 'libtriton_tensorrt.so' for model 'clip_image', searched: /models", "tensorrt"),
        ("instance group clip_image_0 of model clip_image has kind KIND_GPU but no GPUs are available", "--gpus all"),
        ("unable to find '/models/clip_image/1/model.plan' for model instance 'clip_image_0'", "build-engines.sh"),
        ("Internal: unable to load plan file to auto complete config: /m/clip_image/1/model.plan", "build-engines.sh"),
        ("ModuleNotFoundError: No module named 'onnxruntime'", "triton.Dockerfile"),
        ("ModuleNotFoundError: No module named 'simplejpeg'", "triton.Dockerfile"),
        ("ModuleNotFoundError: No module named 'nvidia.nvimgcodec'", "--jpeg fast"),
    ],
)
def test_a_known_cause_has_its_own_hint(message: str, expected: str) -> None:
    hint = load_hint(message)
    assert hint is not None
    assert expected in hint


def test_an_unknown_cause_has_no_hint() -> None:
    assert load_hint("the moon is full") is None
