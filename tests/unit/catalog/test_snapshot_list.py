"""Which snapshot an operator means."""

import pytest

from framematch.catalog.snapshots.listing import match_reference
from framematch.catalog.snapshots.names import SnapshotNames
from framematch.core.errors import CatalogError, UsageError

IDS = ("20260101T000000Z-aaaa", "20260101T000000Z-bbbb", "20260102T000000Z-cccc", "20260102T000000Z-cccc-2")
NAMES = SnapshotNames(1, active=IDS[2], previous="gone")


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("20260101T000000Z-a", IDS[0]),
        (IDS[1], IDS[1]),
        (IDS[2], IDS[2]),  # also the start of another one
        ("active", IDS[2]),
    ],
)
def test_a_snapshot_is_meant_by_its_id_the_start_of_it_or_its_name(reference: str, found: str) -> None:
    assert match_reference(reference, IDS, NAMES) == found


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("2027", "there is no snapshot '2027'"),
        ("", "there is no snapshot ''"),
        ("aaaa", "there is no snapshot 'aaaa'"),
        ("shadow", "no snapshot is shadow"),
        ("previous", "the previous snapshot gone does not exist"),
    ],
)
def test_what_means_no_snapshot_is_refused(reference: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message) as caught:
        match_reference(reference, IDS, NAMES)
    assert "catalog snapshots" in caught.value.hint


def test_the_start_of_several_ids_is_refused_and_names_two_of_them() -> None:
    with pytest.raises(UsageError, match=r"start of 4 snapshots, such as .*aaaa and .*bbbb") as caught:
        match_reference("2026", IDS, NAMES)
    assert "more of the id" in caught.value.hint
