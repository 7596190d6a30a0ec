"""Which products share a picture: no decision can tell them apart by it."""

from collections.abc import Iterable
from dataclasses import dataclass

_EXAMPLES = 3
_EXAMPLE_PRODUCTS = 3
_KEY_DIGITS = 16  # of a digest; enough for millions of pictures, in a quarter of the memory


@dataclass(frozen=True)
class SharedPictures:
    """How many `products` have a picture that another one has too, how many `pictures` that are, and examples.

    Each example has the first ids of the products that share a picture.
    """

    products: int = 0
    pictures: int = 0
    examples: tuple[tuple[str, ...], ...] = ()


class PictureOwners:
    """Collects the pictures of products."""

    def __init__(self) -> None:
        self._first: dict[int, str] = {}
        self._shared: dict[int, list[str]] = {}

    def add(self, product_id: str, images: Iterable[str]) -> None:
        """Add a product with the digests of its pictures, each once."""
        for image in images:
            key = int(image[:_KEY_DIGITS], 16)
            first = self._first.setdefault(key, product_id)
            if first != product_id:
                self._shared.setdefault(key, [first]).append(product_id)

    def shared(self) -> SharedPictures:
        """What is shared among all products that were added."""
        products = {product for owners in self._shared.values() for product in owners}
        largest = sorted(self._shared.values(), key=len, reverse=True)[:_EXAMPLES]
        examples = tuple(tuple(owners[:_EXAMPLE_PRODUCTS]) for owners in largest)
        return SharedPictures(len(products), len(self._shared), examples)
