"""How large a product's document may be, whoever writes it."""

from decimal import Inexact

import bson
from bson.errors import BSONError

from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.product import MAX_ID_CHARACTERS, Product, content_of
from framematch.core.units import BYTES_PER_KB

# Of a product's document without its images: each of its events contains all of it.
MAX_DOCUMENT_BYTES = 256_000


def storage_problem(product: Product) -> tuple[ProblemKind, str] | None:
    """Why a product cannot be stored; None when it can."""
    if len(product.id) > MAX_ID_CHARACTERS:
        return ProblemKind.TOO_LONG, f"its id has more than {MAX_ID_CHARACTERS} characters"
    try:
        size = len(bson.encode(content_of(product)))
    except (BSONError, Inexact, OverflowError, UnicodeEncodeError, RecursionError) as error:
        return ProblemKind.NOT_STORABLE, f"cannot be stored in MongoDB: {error}"
    if size > MAX_DOCUMENT_BYTES:
        return ProblemKind.TOO_LONG, f"has more than {MAX_DOCUMENT_BYTES // BYTES_PER_KB} kB of text"
    return None
