"""The decoder for GPUs: what nvImageCodec decodes, what is left to libjpeg-turbo, and how pictures are reduced.

nvImageCodec runs on the CPU here where it is installed; a fake of it shows the rest. No GPU is needed.
"""

import importlib.util
import io
import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demo.dataset import DATA_DIR, load_photos
from framematch.core.arrays import Pixels
from framematch.core.errors import PictureError
from framematch.model_build.repository.targets import gpu_decoder
from framematch.model_build.repository.targets.gpu_decoder import GpuDecoder
from framematch.pictures.jpeg import Jpeg, read_jpeg

MAX_PIXELS = 100_000_000
needs_nvimagecodec = pytest.mark.skipif(
    not importlib.util.find_spec("nvidia") or not importlib.util.find_spec("nvidia.nvimgcodec"),
    reason="nvImageCodec is not installed: pip install nvidia-nvimgcodec-cu12",
)


class FakeDecoder:
    """Decodes as Pillow does, what Pillow decodes; `batches` has the sizes of the calls."""

    batches: list[int]

    def __init__(self, **_options: object) -> None:
        FakeDecoder.batches = []

    def decode(self, data: Sequence[bytes], **_options: object) -> list[Pixels | None]:
        FakeDecoder.batches.append(len(data))
        return [self._decoded(one) for one in data]

    def _decoded(self, data: bytes) -> Pixels | None:
        with Image.open(io.BytesIO(data)) as image:
            return None if image.mode == "CMYK" else np.asarray(image.convert("RGB"))


@pytest.fixture
def fake_nvimagecodec(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("nvidia.nvimgcodec")
    module.DecodeParams = module.Backend = lambda *_args, **_options: None
    module.ColorSpec, module.BackendKind = SimpleNamespace(SRGB=1), SimpleNamespace(CPU_ONLY=1)
    module.NVIMGCODEC_DEVICE_CPU_ONLY = -1
    module.Decoder = FakeDecoder
    monkeypatch.setitem(sys.modules, "nvidia", ModuleType("nvidia"))
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", module)


def jpeg(picture: Image.Image, **options: object) -> Jpeg:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return read_jpeg(buffer.getvalue(), max_pixels=MAX_PIXELS)


def photos(count: int) -> list[Jpeg]:
    return [read_jpeg((DATA_DIR / one.file).read_bytes(), max_pixels=MAX_PIXELS) for one in load_photos()[:count]]


def read(data: bytes) -> Jpeg:
    return read_jpeg(data, max_pixels=MAX_PIXELS)


@pytest.mark.usefixtures("fake_nvimagecodec")
def test_what_it_does_not_decode_and_what_has_no_end_is_left_to_the_client_s_decoder() -> None:
    photo = photos(1)[0]
    cmyk = jpeg(Image.radial_gradient("L").convert("CMYK"))
    cut = read(photo.data[:-1500])
    whole, other, error = GpuDecoder(None)([(photo, 1), (cmyk, 2), (cut, 1)])
    assert isinstance(whole, np.ndarray)
    np.testing.assert_array_equal(other, cmyk.decode(2))
    assert isinstance(error, PictureError)
    assert error.reason == "truncated"
    assert FakeDecoder.batches == [2]  # the one that has no end was not sent


@pytest.mark.usefixtures("fake_nvimagecodec")
def test_a_picture_of_very_many_scans_never_reaches_the_gpu() -> None:
    data = jpeg(Image.radial_gradient("L").convert("RGB"), progressive=True).data
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 1)
    [error] = GpuDecoder(None)([(read(data[:second] + data[first:second] * 10_000 + data[second:]), 1)])
    assert isinstance(error, PictureError)
    assert "scans" in error.message
    assert FakeDecoder.batches == []


@pytest.mark.usefixtures("fake_nvimagecodec")
def test_pictures_are_decoded_in_parts_that_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found = photos(5)
    monkeypatch.setattr(gpu_decoder, "_MAX_PIXELS_AT_ONCE", 2 * found[0].width * found[0].height)
    decoded = list(GpuDecoder(None)([(one, 1) for one in found]))
    assert [one.shape for one in decoded if isinstance(one, np.ndarray)] == [
        (one.height, one.width, 3) for one in found
    ]
    assert FakeDecoder.batches == [2, 2, 1]


@pytest.mark.usefixtures("fake_nvimagecodec")
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_reduced_picture_has_the_size_and_nearly_the_pixels_of_the_client_s(reduction: int) -> None:
    gradient = jpeg(Image.radial_gradient("L").convert("RGB").resize((333, 217)), quality=95)
    [pixels] = GpuDecoder(None)([(gradient, reduction)])
    expected = gradient.decode(reduction)
    assert isinstance(pixels, np.ndarray)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= 4


@needs_nvimagecodec
def test_nvimagecodec_decodes_photos_nearly_as_clients_do() -> None:
    found, orientation = photos(8), Image.Exif()
    orientation[0x0112] = 6  # turned by a quarter, of which regions know nothing
    turned = jpeg(Image.radial_gradient("L").convert("RGB").resize((64, 48)), exif=orientation)
    grey = jpeg(Image.radial_gradient("L"))
    for one, pixels in zip(
        [*found, turned, grey], GpuDecoder(None)([(one, 1) for one in [*found, turned, grey]]), strict=True
    ):
        assert isinstance(pixels, np.ndarray)
        assert np.abs(pixels.astype(int) - one.decode()).mean() < 1.0


@needs_nvimagecodec
def test_nvimagecodec_leaves_damaged_pictures_to_the_client_s_decoder() -> None:
    photo = photos(1)[0]
    lossless = read(photo.data.replace(b"\xff\xc0", b"\xff\xc3", 1))
    errors = [
        one.reason
        for one in GpuDecoder(None)([(lossless, 1), (read(photo.data[:-1500]), 1)])
        if isinstance(one, PictureError)
    ]
    assert errors == ["undecodable", "truncated"]
