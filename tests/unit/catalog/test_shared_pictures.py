"""Products that share a picture."""

from framematch.catalog.shared_pictures import PictureOwners, SharedPictures

RED, BLUE, GREEN = "aa" * 32, "bb" * 32, "cc" * 32


def test_products_that_share_a_picture_are_counted_with_examples() -> None:
    owners = PictureOwners()
    for number in range(500):
        owners.add(f"p{number}", [RED])
    owners.add("a", [BLUE, GREEN])
    owners.add("b", [BLUE])
    owners.add("c", [])
    assert owners.shared() == SharedPictures(502, 2, (("p0", "p1", "p2"), ("a", "b")))


def test_products_with_pictures_of_their_own_share_none() -> None:
    owners = PictureOwners()
    owners.add("a", [RED])
    owners.add("b", [BLUE, GREEN])
    assert owners.shared() == SharedPictures()
