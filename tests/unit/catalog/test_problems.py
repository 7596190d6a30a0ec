"""Problems of a catalogue file by kind."""

from framematch.catalog.importing.problems import ProblemKind, RowProblem, group_problems

MISSING = [RowProblem(line, line, ProblemKind.NO_IMAGE, f"image '{line}.jpg' not found") for line in range(2, 102)]
QUOTES = RowProblem(200, 204, ProblemKind.QUOTES, "a quote is not closed")


def test_a_frequent_kind_does_not_hide_a_rare_one() -> None:
    groups = group_problems([*MISSING, QUOTES], shown=3)
    assert [(group.kind, group.count) for group in groups] == [(ProblemKind.QUOTES, 1), (ProblemKind.NO_IMAGE, 100)]
    assert groups[1].first == tuple(MISSING[:3])


def test_every_kind_says_what_is_wrong_and_what_to_do() -> None:
    assert all(kind.title and kind.hint for kind in ProblemKind)
