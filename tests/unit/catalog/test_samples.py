"""Labelled pictures as documents, and how they are prepared for the model."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from framematch.catalog.samples.embedder import frame_crop
from framematch.catalog.samples.sample import Label, LabelledPicture, to_document, to_sample
from framematch.catalog.values import DocumentError
from framematch.matching.match_pictures import Picture, prepare_picture
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor
from tests.unit.catalog.snapshots import picture

IMPOSTORS: tuple[Label, ...] = ("stranger", "nothing")
AT = datetime(2026, 3, 4, 5, 6, 7, 89_000, UTC)


def document(**changes: Any) -> dict[str, Any]:
    one = LabelledPicture.of(
        b"picture", "product", product_id="p1", source="folder", group="visit", camera="hall", at=AT
    )
    return {**to_document(one), **changes}


def test_a_sample_survives_its_document() -> None:
    one = LabelledPicture.of(b"picture", "nothing", source="reviewed", group="sighting-1", at=AT)
    assert to_sample(to_document(one)) == one.sample


def test_a_picture_has_one_id_for_each_label() -> None:
    known = LabelledPicture.of(b"picture", "product", product_id="p", source="folder", group="g")
    others = [LabelledPicture.of(b"picture", label, source="folder", group="g") for label in IMPOSTORS]
    assert len({one.sample.id for one in (known, *others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"label": "known"}, "label is 'known'"),
        ({"source": 3}, "source is 3"),
        ({"product_id": None}, "product_id is missing or null, with the label product"),
        ({"label": "nothing"}, "product_id is 'p1', with the label nothing"),
        ({"product_id": "p" * 1001}, "product_id has more than 1000 characters"),
        ({"at": "today"}, "at is 'today', not a date"),
        ({"image": "other"}, "its id is not that of its picture and label"),
        ({"group": ""}, "group is '', not a text"),
        ({"camera": 5}, "camera is 5, not a text"),
    ],
)
def test_a_document_that_is_none_of_ours_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DocumentError, match=problem):
        to_sample(document(**changes))


@pytest.mark.parametrize("variant", ["fast", "exact"])
def test_a_labelled_picture_is_prepared_as_a_frame_is(variant: Any) -> None:
    preprocessor = Preprocessor(PreprocessSpec(8, 8, 8, "bicubic", 1 / 255, (0.5,) * 3, (0.2,) * 3), variant)
    data = picture(3)
    (expected,) = prepare_picture(Picture(data), preprocessor).crops
    assert np.array_equal(frame_crop(data, preprocessor), expected)
