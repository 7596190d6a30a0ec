"""preprocessor_config.json: every setting is applied or refused, none is ignored."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from framematch.core.errors import ModelError
from framematch.model_build.bundles.processor_config import parse_processor_config
from framematch.vision.manifest import PreprocessSpec
from tests.unit.model_build.bundles import PROCESSOR, SIDE, SIGLIP_PROCESSOR


def parse(folder: Path, processor: Mapping[str, Any] = PROCESSOR, /, **changes: Any) -> PreprocessSpec:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**processor, **changes}))
    return parse_processor_config(path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"do_resize": False}, "do_resize"),
        ({"do_center_crop": False}, "do_center_crop"),
        ({"do_rescale": False}, "do_rescale"),
        ({"do_normalize": False}, "do_normalize"),
        ({"do_convert_rgb": False}, "do_convert_rgb"),
        ({"image_processor_type": "SiglipImageProcessor"}, "do_center_crop = True"),
        ({"image_processor_type": "BlipImageProcessor"}, "BlipImageProcessor"),
        ({"do_pad": True}, "do_pad"),
        ({"use_square_size": True}, "use_square_size"),
        ({"resample": 0}, "resample"),
        ({"size": {"height": SIDE, "width": SIDE + 1}}, "shortest_edge"),
        ({"size": {"longest_edge": SIDE}}, "longest_edge"),
        ({"size": {"shortest_edge": SIDE, "longest_edge": SIDE}}, "longest_edge"),
        ({"size": {"height": SIDE}}, "shortest_edge"),
        ({"crop_size": None}, "crop_size"),
        ({"crop_size": {"height": SIDE + 1, "width": SIDE}}, "crop_size"),
        ({"crop_size": 0}, "0 x 0"),
        ({"image_std": [0.2, 0.0, 0.2]}, "image_std"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"rescale_factor": 0}, "rescale_factor"),
    ],
)
def test_an_unsupported_setting_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        parse(tmp_path, **changes)


def test_unknown_settings_that_are_off_are_ignored(tmp_path: Path) -> None:
    extra = {"do_pad": None, "default_to_square": False, "_valid_processor_keys": ["images"], "device": None}
    assert parse(tmp_path, **extra) == parse(tmp_path)


def test_old_files_with_plain_numbers_as_sizes_are_read(tmp_path: Path) -> None:
    assert parse(tmp_path, size=SIDE, crop_size=SIDE) == parse(tmp_path)


def test_bilinear_is_read(tmp_path: Path) -> None:
    assert parse(tmp_path, resample=2).resample == "bilinear"


def test_siglip_resizes_the_whole_picture_to_height_and_width(tmp_path: Path) -> None:
    spec = parse(tmp_path, SIGLIP_PROCESSOR, size={"height": SIDE, "width": 2 * SIDE})
    assert (spec.resize_shortest_edge, spec.crop_height, spec.crop_width) == (None, SIDE, 2 * SIDE)


def test_a_number_as_size_is_a_square_for_siglip(tmp_path: Path) -> None:
    assert parse(tmp_path, SIGLIP_PROCESSOR, size=SIDE) == parse(tmp_path, SIGLIP_PROCESSOR)


def test_siglip_s_default_mean_is_one_half(tmp_path: Path) -> None:
    spec = parse(tmp_path, SIGLIP_PROCESSOR, image_mean=None, image_std=None)
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_a_crop_of_the_resized_size_is_accepted(tmp_path: Path) -> None:
    size = {"height": SIDE, "width": SIDE}
    assert parse(tmp_path, size=size) == parse(tmp_path, size=size, do_center_crop=False)
