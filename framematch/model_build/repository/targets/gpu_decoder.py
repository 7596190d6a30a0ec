"""Decodes JPEGs with nvJPEG, through nvImageCodec. `model build --jpeg gpu` copies it beside `decode_backend.py`.

Triton's Python environment needs nvidia-nvimgcodec and cupy for its version of CUDA. What nvJPEG does not decode, or
what may be damaged, libjpeg-turbo decodes or refuses, as clients do: nvJPEG fills missing data with grey, and does not
say so. A picture is reduced on the GPU by the mean of blocks, so that only what the crop needs is copied to the host.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.pictures.jpeg import Jpeg
from framematch.pictures.jpeg_header import find_end

# Pictures that are decoded at once, in pixels of 3 bytes: 200 MB of the GPU's memory.
_MAX_PIXELS_AT_ONCE = 2**26
# As libjpeg-turbo does; nvJPEG repeats each pixel of a colour otherwise.
_OPTIONS = ":fancy_upsampling=1"


class GpuDecoder:
    """A `DecodeAll` on one GPU; `device_id` None decodes by nvImageCodec on the CPU, to test it without a GPU."""

    def __init__(self, device_id: int | None) -> None:
        """Open the decoder.

        Raises:
            ImportError: a package is missing.
            RuntimeError: CUDA or nvJPEG does not work.
        """
        nvimgcodec = import_module("nvidia.nvimgcodec")
        # Regions are in pixels of the encoded picture, so an orientation tag must not turn it.
        self._params = nvimgcodec.DecodeParams(apply_exif_orientation=False, color_spec=nvimgcodec.ColorSpec.SRGB)
        self._arrays: Any = np
        if device_id is None:
            backends = [nvimgcodec.Backend(nvimgcodec.BackendKind.CPU_ONLY)]
            self._decoder = nvimgcodec.Decoder(
                device_id=nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY, backends=backends, options=_OPTIONS
            )
        else:
            cupy = import_module("cupy")
            cupy.cuda.Device(device_id).use()
            self._arrays = cupy
            self._decoder = nvimgcodec.Decoder(device_id=device_id, options=_OPTIONS)

    def __call__(self, pictures: Sequence[tuple[Jpeg, int]]) -> Iterator[Pixels | PictureError]:
        """Decode pictures at their reductions, several at once."""
        for group in _groups(pictures):
            trusted = [_may_be_whole(jpeg) for jpeg, _ in group]
            data = [jpeg.data for (jpeg, _), whole in zip(group, trusted, strict=True) if whole]
            images = iter(self._decoder.decode(data, params=self._params) if data else [])
            for (jpeg, reduction), whole in zip(group, trusted, strict=True):
                image = next(images) if whole else None
                if image is None or tuple(image.shape) != (jpeg.height, jpeg.width, 3):
                    yield _by_client_s_decoder(jpeg, reduction)
                else:
                    yield self._reduced(image, reduction)

    def _reduced(self, image: Any, reduction: int) -> Pixels:
        """The means of blocks, at the right and lower edge of parts of them, on the host."""
        pixels = self._arrays.asarray(image)
        if reduction > 1:
            height, width = pixels.shape[:2]
            missing = ((0, -height % reduction), (0, -width % reduction), (0, 0))
            blocks = self._arrays.pad(pixels, missing, mode="edge")
            rows, columns = blocks.shape[0] // reduction, blocks.shape[1] // reduction
            means = blocks.reshape(rows, reduction, columns, reduction, 3).mean(axis=(1, 3), dtype=np.float32)
            pixels = (means + 0.5).astype(np.uint8)
        return np.asarray(pixels if self._arrays is np else self._arrays.asnumpy(pixels), np.uint8)


def _groups(pictures: Sequence[tuple[Jpeg, int]]) -> Iterator[list[tuple[Jpeg, int]]]:
    """Parts of `pictures` that fit into the GPU's memory together; one that does not fit is alone."""
    group: list[tuple[Jpeg, int]] = []
    pixels = 0
    for jpeg, reduction in pictures:
        if group and pixels + jpeg.width * jpeg.height > _MAX_PIXELS_AT_ONCE:
            yield group
            group, pixels = [], 0
        group.append((jpeg, reduction))
        pixels += jpeg.width * jpeg.height
    if group:
        yield group


def _may_be_whole(jpeg: Jpeg) -> bool:
    """Whether it has its end, and not more scans than it may have; what is damaged in the middle is not noticed."""
    try:
        jpeg.require_few_scans()
    except PictureError:
        return False
    return find_end(jpeg.data) is not None


def _by_client_s_decoder(jpeg: Jpeg, reduction: int) -> Pixels | PictureError:
    try:
        return jpeg.decode(reduction)
    except PictureError as error:
        return error
