"""Each row of an imported file has exactly one fate."""

import pytest

from framematch.catalog.importing.accounts import Accounts, Fate, ImportReport, fates_of_rows
from framematch.catalog.importing.notices import Notice, Notices
from framematch.catalog.importing.pictures.stored_pictures import PictureNotices
from framematch.catalog.importing.problems import ProblemKind, RowProblem


def test_a_product_of_several_rows_is_one_row_and_the_others_are_merged() -> None:
    accounts = Accounts()
    accounts.read = 4
    accounts.take([2, 3, 4, 5], [(2, Fate.ADDED), (4, Fate.SAME)])
    report = accounts.report(PictureNotices())
    assert (report.added, report.same, report.merged, report.refused) == (1, 1, 2, 0)


def test_a_row_with_several_products_is_counted_once() -> None:
    assert fates_of_rows([7], [(7, Fate.SAME), (7, Fate.ADDED), (7, Fate.CHANGED)]) == {7: Fate.ADDED}


def test_rows_that_were_not_counted_are_a_defect() -> None:
    with pytest.raises(AssertionError, match="6 rows were read, but 5 imported and 0 refused"):
        ImportReport(read=6, added=2, changed=1, same=1, merged=1, refused=0)


def test_a_refused_row_without_a_reason_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="2 refused, 1 with a reason"):
        ImportReport(
            read=2, added=0, changed=0, same=0, merged=0, refused=2, problems=(RowProblem(2, 2, ProblemKind.CELLS, ""),)
        )


def test_problems_are_in_the_order_of_their_lines() -> None:
    accounts = Accounts()
    accounts.read = 2
    accounts.refuse([RowProblem(9, 9, ProblemKind.FIELD, "no name")])
    accounts.refuse([RowProblem(3, 5, ProblemKind.QUOTES, "a quote is not closed")])
    assert [problem.line for problem in accounts.report(PictureNotices()).problems] == [3, 9]


def test_ids_that_differ_in_case_or_spaces_are_named() -> None:
    accounts = Accounts()
    accounts.lines_by_id = {"A 1": 2, "b": 3, "a  1": 4, "B": 5}
    assert accounts.report(PictureNotices()).similar_ids == (("A 1", "a  1"), ("b", "B"))


def test_notices_of_a_kind_are_one_with_their_number_and_three_examples() -> None:
    notices = Notices()
    for line in range(2, 7):
        notices.add("the price is a sale price", f"line {line}")
    notices.add("drafts are imported too")
    assert notices.all() == (
        Notice("the price is a sale price", 5, ("line 2", "line 3", "line 4")),
        Notice("drafts are imported too", 1),
    )
