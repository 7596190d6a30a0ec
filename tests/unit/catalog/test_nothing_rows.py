"""Which pictures that show nothing a snapshot recognises an empty scene by."""

from datetime import UTC, datetime

import numpy as np
import pytest

from framematch.catalog.samples.nothing import is_nothing_row, most_different
from framematch.catalog.samples.sample import Label, Sample


def sample(label: Label, group: str) -> Sample:
    return Sample("0" * 64, label, "milk" if label == "product" else None, "folder", group, datetime.now(UTC))


def test_half_of_the_groups_are_left_for_calibration() -> None:
    rows = [is_nothing_row(sample("nothing", f"group-{number}")) for number in range(200)]
    assert 70 < sum(rows) < 130
    labels: tuple[Label, ...] = ("product", "stranger")
    assert not any(is_nothing_row(sample(label, f"group-{number}")) for label in labels for number in range(20))


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (3, 3), (100, 10)])
def test_of_too_many_pictures_the_most_different_ones_stay_and_none_twice(limit: int, expected: int) -> None:
    distinct = np.eye(10, dtype=np.float32)
    chosen = most_different(np.repeat(distinct, 3, axis=0), limit)
    assert len(chosen) == len({tuple(row) for row in chosen.tolist()}) == expected


def test_without_pictures_there_are_none() -> None:
    assert most_different(np.empty((0, 8), np.float32), 5).shape == (0, 8)
