"""A label contradicts no other label of an equal picture."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from framematch.catalog.samples.sample import LabelledPicture, Sample
from framematch.core.errors import UsageError
from framematch.review.labels import check_agrees
from framematch.review.picture import GivenLabel, ReviewPicture

AT = datetime(2026, 1, 1, tzinfo=UTC)
PICTURE = ReviewPicture(
    "one", "till-1", 1, "near", 7, "g", AT, "match", None, 0.7, 0.68, (("milk", 0.7),), "s-1", "00ff"
)
MILK, OATS = GivenLabel("product", "milk"), GivenLabel("product", "oats")


def sample(source: str, given: GivenLabel) -> Sample:
    made = LabelledPicture.of(b"x", given.label, source="folder", group="g", product_id=given.product_id).sample
    return replace(made, source=source)  # type: ignore[arg-type]  # a text


def test_equal_labels_agree_and_an_own_earlier_one_may_be_replaced() -> None:
    check_agrees(PICTURE, MILK, [replace(PICTURE, id="two", label=MILK)], [sample("folder", MILK)])
    check_agrees(replace(PICTURE, label=OATS), MILK, [replace(PICTURE, id="two")], [sample("reviewed", OATS)])


@pytest.mark.parametrize("other", [OATS, GivenLabel("stranger"), GivenLabel("nothing")])
def test_another_label_of_an_equal_picture_is_named(other: GivenLabel) -> None:
    with pytest.raises(UsageError, match=f"two is equal, and was labelled {other}"):
        check_agrees(PICTURE, MILK, [replace(PICTURE, id="two", label=other)], [])
    with pytest.raises(UsageError, match=f"of a folder was given as {other}"):
        check_agrees(PICTURE, MILK, [], [sample("folder", other)])
