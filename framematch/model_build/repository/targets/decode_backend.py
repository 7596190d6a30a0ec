"""Decodes JPEGs and crops regions in Triton's python backend. `model build --jpeg` copies it as `1/model.py`.

Beside it lie copies of the modules that it imports (`jpeg.py` has their list): Triton's Python environment has no
framematch. They are imported from there even if it had one, because the copies are those that the model was built with.
"""

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import triton_python_backend_utils as triton

sys.path.insert(0, str(Path(__file__).parent))

from framematch.vision.manifest import JPEG_PARAMETER, MANIFEST_PARAMETER, ModelManifest  # after the path is set
from framematch.vision.preprocess import Preprocessor
from framematch.vision.region_rows import (
    REDUCTIONS,
    CroppedRow,
    DecodeAll,
    JpegManifest,
    RegionRow,
    crop_rows,
    decode_each,
)


class TritonPythonModel:
    """Rows in, pixels and measurements out. A JPEG that is empty is that of the row before, in the same request."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read how pictures are prepared from the model's configuration."""
        cv2.setNumThreads(1)  # as clients do: the next step needs the cores
        parameters = json.loads(args["model_config"])["parameters"]
        manifest = ModelManifest.from_json(parameters[MANIFEST_PARAMETER]["string_value"])
        own = JpegManifest.from_json(parameters[JPEG_PARAMETER]["string_value"])
        self._max_pixels = own.max_pixels
        self._preprocessor = Preprocessor(manifest.preprocess, own.variant)
        self._decode = decode_each if own.is_exact else _gpu_decoder(args)
        if self._preprocessor.digest != own.preprocessing:
            raise triton.TritonModelException("the configuration and the code are of different builds: build it again")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, in order. Whatever is wrong with a JPEG is the problem of its rows alone.

        A request that fails gets an error; the others get their results.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        jpegs, boxes, reductions = (_input(request, name) for name in ("jpeg", "region", "reduction"))
        try:
            outputs = _outputs(self._crop(_rows(jpegs.reshape(-1), boxes.tolist(), reductions.reshape(-1).tolist())))
        except Exception as error:  # noqa: BLE001  # it is about this request, also when the GPU has no memory left
            return triton.InferenceResponse([], triton.TritonError(f"{type(error).__name__}: {error}"))
        return triton.InferenceResponse(outputs)

    def _crop(self, rows: Sequence[RegionRow]) -> list[CroppedRow]:
        return crop_rows(rows, self._preprocessor, max_pixels=self._max_pixels, decode=self._decode)


def _gpu_decoder(args: dict[str, str]) -> DecodeAll:
    """The decoder beside this file, on the instance's GPU."""
    if args["model_instance_kind"] != "GPU":
        raise triton.TritonModelException("this model decodes on a GPU: its instance group must be of KIND_GPU")
    decoder: DecodeAll = import_module("gpu_decoder").GpuDecoder(int(args["model_instance_device_id"]))
    return decoder


def _rows(jpegs: Sequence[bytes], boxes: Sequence[Sequence[int]], reductions: Sequence[int]) -> list[RegionRow]:
    rows: list[RegionRow] = []
    for jpeg, (x, y, width, height), reduction in zip(jpegs, boxes, reductions, strict=True):
        if min(x, y) < 0 or min(width, height) < 1:
            raise ValueError(f"the region {[x, y, width, height]} is not x, y, width, height of a box in pixels")
        if reduction not in REDUCTIONS:
            raise ValueError(f"the reduction {reduction} is none of {REDUCTIONS}")
        rows.append(RegionRow(rows[-1].jpeg if rows and not jpeg else jpeg, (x, y, width, height), reduction))
    return rows


def _outputs(rows: Sequence[CroppedRow]) -> list[Any]:
    return [
        triton.Tensor("pixels", np.stack([row.pixels for row in rows])),
        triton.Tensor("content", np.array([[row.content] for row in rows], np.float64)),
        triton.Tensor("quality", np.array([[row.quality] for row in rows], np.float64)),
        triton.Tensor("problem", np.array([[row.problem.encode()] for row in rows], np.object_)),
    ]


def _input(request: Any, name: str) -> Any:
    return triton.get_input_tensor_by_name(request, name).as_numpy()
