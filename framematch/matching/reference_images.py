"""Which picture of a product is the nearest to what was searched for."""

from collections.abc import Iterable

from framematch.catalog.product import Product
from framematch.core.arrays import Embeddings
from framematch.matching.serving.served_snapshot import ServedSnapshot


def reference_images(served: ServedSnapshot, query: Embeddings, products: Iterable[Product]) -> dict[str, str | None]:
    """By product the SHA-256 of its picture that is most similar to `query` [D]; None if it has none any more.

    CPU-bound, and reads the index: call it in a thread.
    """
    return {product.id: _nearest(served, query, product) for product in products}


def _nearest(served: ServedSnapshot, query: Embeddings, product: Product) -> str | None:
    changed = served.changes.changes.get(product.id)
    if changed is None:
        return served.matcher.nearest_picture(query, (view.image for view in product.views))
    scores = (changed.embeddings @ query).tolist()
    return max(zip(scores, changed.views, strict=True), key=lambda one: one[0])[1].image if scores else None
