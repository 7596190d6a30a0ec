"""What `catalog show` says of a calibration."""

from dataclasses import replace

from framematch.catalog.snapshots.calibration import CurvePoint, Share
from framematch.cli.snapshots.calibration_text import calibration_lines, share_text
from tests.unit.catalog.test_calibration_checks import GOOD


def test_stated_and_realised_rates_are_told_for_each_source() -> None:
    text = "\n".join(calibration_lines(GOOD))
    assert "at most 5 % are expected to be accepted" in text
    assert "not stated for products that the catalogue lacks" not in text
    assert "products that the catalogue lacks: 5.0 % (0.1 to 25.0 %) of 20 accepted, AUROC 0.900" in text
    assert "scenes without a product: not stated, 19 pictures are needed" in text
    assert "with the right product in their set: no picture" in text
    assert "category fruit: match 0.600, from 100 pictures" in text


def test_a_guarantee_is_told_as_a_bound() -> None:
    assert "at most 5 % are with 95% confidence accepted" in "\n".join(calibration_lines(replace(GOOD, guarantee=0.95)))


def test_the_curve_has_a_row_for_each_rate_that_a_threshold_reaches() -> None:
    points = tuple(CurvePoint(number / 1000, (1000 - number) / 1000, number / 1000) for number in range(1000))
    rows = list(calibration_lines(replace(GOOD, curve=points)))[-7:]
    assert [row.split()[1] for row in rows] == ["0.1", "1.0", "2.0", "5.0", "10.0", "20.0", "50.0"]
    assert rows[0].split() == ["0.999", "0.1", "%", "99.9", "%"]


def test_a_share_of_no_picture_has_no_rate() -> None:
    assert share_text(Share(0, 0, 0, 1)) == "no picture"


def test_pictures_of_the_catalogue_itself_are_told_to_be_weaker() -> None:
    assert "weaker" not in "\n".join(calibration_lines(GOOD))
    assert "weaker: 20 of the pictures are the catalogue's own" in "\n".join(calibration_lines(replace(GOOD, views=20)))


def test_a_rate_of_known_products_alone_is_not_that_of_products_that_nobody_saw() -> None:
    siblings = replace(GOOD.sources[0], source="siblings")
    unseen = replace(GOOD.sources[0], threshold=None, missing=12)
    for sources in ((siblings,), (siblings, unseen)):
        text = "\n".join(calibration_lines(replace(GOOD, sources=sources)))
        assert "not stated for products that the catalogue lacks: more of them may be accepted" in text
