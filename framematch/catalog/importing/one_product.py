"""Checks a single product, as an import does with a row of the project's own table."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from framematch.catalog.document_limits import storage_problem
from framematch.catalog.importing.gathering.gather import gather
from framematch.catalog.importing.gathering.product_group import ProductGroup
from framematch.catalog.importing.gathering.visual_products import VisualProduct, visual_products
from framematch.catalog.importing.pictures.picture_folder import PictureFolder
from framematch.catalog.importing.pictures.stored_pictures import StoredPictures
from framematch.catalog.importing.presets.mapping import parse_product
from framematch.catalog.importing.problems import RowProblem
from framematch.catalog.products import Product, ProductStore


async def check_product(fields: Mapping[str, Any], store: ProductStore) -> Product | RowProblem:
    """The product with these fields, whose pictures are stored, or why it is none. All pictures have to be good.

    Pictures are absolute paths. The problem has the line 1.

    Raises:
        MongoUnavailableError: MongoDB became unavailable.
    """
    row = parse_product(fields)
    if isinstance(row, RowProblem):
        return row
    group = gather([row], "flat")
    if not isinstance(group, ProductGroup):
        return group[0]
    with ThreadPoolExecutor(1, "import") as pool:
        views = await StoredPictures(store, pool, PictureFolder(Path("/"))).store(group.picture_names)
    (found, *_) = visual_products(group, views, strict=True)
    if not isinstance(found, VisualProduct):
        return found
    problem = storage_problem(found.product)
    return RowProblem(row.line, row.last_line, *problem) if problem else found.product
