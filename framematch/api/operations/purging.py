"""The operation `purge`: deletes all products, or those of a category. Pictures and snapshots are kept."""

from typing import Any, Final

from framematch.api.operations.work import Work
from framematch.catalog.changes.served_models import open_product_changes
from framematch.catalog.products import ProductStore

PUBLISHED_MAX: Final = 200
"""Up to so many are gone from all searches at once, as single changes; more of them with the next build."""

_BATCH = 500


async def purge_products(work: Work) -> dict[str, Any]:
    """Delete the products.

    Raises:
        CatalogError: there are too many single changes since the last build.
        MongoUnavailableError: MongoDB became unavailable.
    """
    work.meter.unit = "products"
    store, category = ProductStore(work.database), work.parameters.get("category")
    ids = [product.id async for product in store.iterate(category=category)]
    if len(ids) <= PUBLISHED_MAX:
        async with open_product_changes(work.settings, work.database) as changes:
            for number, product_id in enumerate(ids):
                work.meter.report(number, len(ids))
                await changes.remove(product_id)
        still_searched = 0
    else:
        for start in range(0, len(ids), _BATCH):
            work.meter.report(start, len(ids))
            await store.delete_many(ids[start : start + _BATCH])
        still_searched = len(ids)
    work.meter.report(len(ids), len(ids))
    return {"deleted": len(ids), "searched_until_next_build": still_searched}
