"""Products that the file lacks are deleted only if they are a small part of the catalogue."""

import pytest

from framematch.catalog.importing.prune import LackingProducts, parse_prune_max
from framematch.core.errors import CatalogError, UsageError


def lacking(count: int, catalogue: int) -> LackingProducts:
    return LackingProducts(tuple(f"p{number}" for number in range(count)), (), catalogue)


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("100%", 1), ("2.5 %", 0.025), ("0%", 0)])
def test_the_most_that_may_be_deleted_is_a_percentage(text: str, share: float) -> None:
    assert parse_prune_max(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["10", "101%", "-1%", "ten%", "", "1e1%", "٣%"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="Write for instance 10%"):
        parse_prune_max(text)


def test_the_limit_itself_may_be_deleted() -> None:
    lacking(10, 100).check(0.1)


def test_more_is_refused_with_the_numbers_and_the_option_that_allows_it() -> None:
    message = r"11 of 100 products are not in the file; that is 11%, and at most 10% may be deleted"
    with pytest.raises(CatalogError, match=message) as caught:
        lacking(11, 100).check(0.1)
    assert "--prune-max 100%" in caught.value.hint


def test_a_whole_catalogue_can_be_deleted_on_purpose() -> None:
    lacking(100, 100).check(1)
