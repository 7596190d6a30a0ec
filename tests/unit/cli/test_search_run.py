"""What `framematch search` says about a result."""

import pytest

from framematch.catalog.products import Product
from framematch.cli.search_run import verdict
from framematch.matching.search import FoundProduct, SearchResult

FOUND = (FoundProduct(Product("milk", "Milk"), 0.9),)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (SearchResult("s", 0, True, FOUND, decision="match"), "Match"),
        (
            SearchResult("s", 0, True, FOUND, 3, decision="ambiguous", reason="below_margin"),
            "Ambiguous: below margin, among 3 products",
        ),
        (
            SearchResult("s", 0, False, FOUND, decision="unknown", reason="below_threshold"),
            "Nothing is near; these are the least far (unknown: below threshold)",
        ),
        (
            SearchResult("s", 0, True, FOUND, 1, z_score=1.61),
            "Above what texts about other things reach (z-score 1.6, among 1 product)",
        ),
        (SearchResult("s", 0, False, FOUND, z_score=-2), "Nothing is near; these are the least far (z-score -2.0)"),
        (
            SearchResult("s", 0, False, (), decision="unknown", reason="no_content"),
            "Nothing is near: the picture shows nothing",
        ),
        (SearchResult("s", 0, False, (), 0), "Nothing is near: no product fits the filters"),
    ],
)
def test_a_result_is_one_line(result: SearchResult, says: str) -> None:
    assert verdict(result) == says
