"""Lists the views of all products: the rows of an index, and the distinct pictures that they show."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framematch.catalog.embeddings.picture_embedder import Pictures
from framematch.catalog.products import ProductStore
from framematch.catalog.shared_pictures import PictureOwners
from framematch.core.errors import CatalogError


@dataclass(frozen=True)
class CatalogueViews:
    """One entry for each view: product, number among the product's views, picture; in the order of product ids.

    `product_numbers` and `picture_numbers`, both int64 [views], count products and distinct pictures in order.
    `categories` and `category_names` are as in `RowTable`.
    """

    product_ids: tuple[str, ...]
    numbers: tuple[int, ...]
    images: tuple[str, ...]
    product_numbers: NDArray[np.int64]
    picture_numbers: NDArray[np.int64]
    products: int
    pictures: Pictures
    categories: tuple[int, ...] = ()
    category_names: tuple[str, ...] = ()


async def list_views(store: ProductStore, owners: PictureOwners) -> CatalogueViews:
    """All views; `owners` collects the pictures of all products.

    Raises:
        CatalogError: there is none.
        MongoUnavailableError: MongoDB became unavailable.
    """
    product_ids: list[str] = []
    numbers: list[int] = []
    images: list[str] = []
    product_numbers: list[int] = []
    categories: list[int] = []
    category_numbers: dict[str, int] = {}
    products = 0
    async for product in store.iterate():
        category = category_numbers.setdefault(product.category, len(category_numbers)) if product.category else -1
        owners.add(product.id, (view.image for view in product.views))
        for number, view in enumerate(product.views):
            product_ids.append(product.id)
            numbers.append(number)
            images.append(view.image)
            product_numbers.append(products)
            categories.append(category)
        products += bool(product.views)
    if not images:
        raise CatalogError("the catalogue is empty", hint="Run 'framematch catalog import FILE' first")
    first_products: dict[str, str] = {}
    for image, product_id in zip(images, product_ids, strict=True):
        first_products.setdefault(image, product_id)
    picture_numbers = {image: number for number, image in enumerate(first_products)}
    return CatalogueViews(
        product_ids=tuple(product_ids),
        numbers=tuple(numbers),
        images=tuple(images),
        product_numbers=np.array(product_numbers, np.int64),
        picture_numbers=np.fromiter((picture_numbers[image] for image in images), np.int64, len(images)),
        products=products,
        pictures=Pictures(tuple(first_products), tuple(first_products.values())),
        categories=tuple(categories) if category_numbers else (),
        category_names=tuple(category_numbers),
    )
