"""The newest ids of a stream."""

from framematch.core.newest import NewestIds


def test_an_id_is_found_until_so_many_others_came_after_it() -> None:
    ids = NewestIds(3)
    for one in ("a", "b", "c", "d"):
        ids.add(one)
    assert [one in ids for one in ("a", "b", "c", "d")] == [False, True, True, True]


def test_the_last_id_is_the_one_that_was_added_last() -> None:
    ids = NewestIds(2)
    assert ids.last is None
    ids.add("a")
    ids.add("b")
    assert ids.last == "b"
