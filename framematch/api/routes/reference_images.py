"""The reference images of a product: list, add, read, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from framematch.api.access.policy import access
from framematch.api.etags import CurrentConditions, quoted
from framematch.api.multipart import is_form, read_form
from framematch.api.problems import Problem
from framematch.api.product_edits import existing, no_image, no_product, with_views, without_view
from framematch.api.routes.products import CurrentEdits, ProductId, edited_answer
from framematch.api.schemas.problem import problems
from framematch.api.schemas.products import IMAGES_MAX, ProductAnswer, ReferenceImage, ReferenceImages
from framematch.api.services import CurrentServices, Services
from framematch.catalog.product import StoredProduct, View
from framematch.catalog.product_pages import read_product
from framematch.pictures.file_types import media_type

router = APIRouter(tags=["reference images"])

_LIST = "/v1/products/{product}/reference_images"
_ONE = _LIST + "/{sha256}"
_BODY_MB = 64.0
_IMMUTABLE = "private, max-age=31536000, immutable"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_KINDS = ("image/jpeg", "image/png", "image/webp", "image/avif", "image/heic")
_REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "description": f"one picture as it is, or up to {IMAGES_MAX} fields `image` of a form",
    "content": {
        **dict.fromkeys(_KINDS, _BINARY),
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                "required": ["image"],
            }
        },
    },
}

Digest = Annotated[str, Path(description="SHA-256 of its file", examples=["9f" * 32])]


@router.get(_LIST, summary="List the reference images of a product", openapi_extra=access("read"),
            responses=problems(404))  # fmt: skip
async def list_images(product: ProductId, services: CurrentServices) -> ReferenceImages:
    """All of them, in the order in which they were added."""
    stored = await _product(services, product)
    return ReferenceImages(items=[ReferenceImage.of(view) for view in stored.product.views])


@router.post(
    _LIST,
    summary="Add reference images",
    status_code=201,
    openapi_extra={**access("operate", body_mb=_BODY_MB, pictures=True), "requestBody": _REQUEST_BODY},
    responses=problems(404, 409, 412, 413, 415, 503),
    response_model=ProductAnswer,
)
async def add_images(
    product: ProductId, request: Request, conditions: CurrentConditions, edits: CurrentEdits
) -> Response:
    """Add one or several pictures; the product is found by them within seconds. Adding one again changes nothing.

    A picture counts as it is seen upright, by its EXIF orientation. Of an animation the first frame counts.
    """
    if not await edits.store.existing([product]):
        raise no_product(product)
    pictures = await _pictures(request)
    views = await edits.store_pictures(pictures)
    edited = await edits.edit(product, conditions, lambda seen: with_views(existing(seen, product), views))
    return edited_answer(edited, status=201)


@router.get(_ONE, summary="Read a reference image's size", openapi_extra=access("read"), responses=problems(404))
async def get_image(product: ProductId, sha256: Digest, services: CurrentServices) -> ReferenceImage:
    """Its digest and its size in pixels."""
    return ReferenceImage.of(await _view(services, product, sha256))


@router.get(
    _ONE + "/content",
    summary="Download a reference image",
    openapi_extra=access("read"),
    response_class=Response,
    responses={
        **problems(404, 410),
        200: {"content": dict.fromkeys((*_KINDS, "application/octet-stream"), _BINARY)},
        304: {"description": "The client has it already."},
    },
)
async def get_content(
    product: ProductId, sha256: Digest, services: CurrentServices, conditions: CurrentConditions
) -> Response:
    """The file as it was uploaded. It never changes, so browsers may keep it for a year."""
    view = await _view(services, product, sha256)
    headers = {"ETag": quoted(view.image), "Cache-Control": _IMMUTABLE}
    if conditions.not_modified(view.image):
        return Response(status_code=304, headers=headers)
    data = (await services.products.get_images([view.image])).get(view.image)
    if data is None:
        raise Problem(410, "gone", f"the file of {view.image} is gone or damaged", hint="Add the picture again")
    return Response(data, headers={**headers, "Content-Type": media_type(data)})


@router.delete(
    _ONE,
    summary="Delete a reference image",
    openapi_extra=access("operate"),
    responses=problems(404, 409, 412, 503),
    response_model=ProductAnswer,
)
async def delete_image(
    product: ProductId, sha256: Digest, conditions: CurrentConditions, edits: CurrentEdits
) -> Response:
    """Take a picture from the product. Without its last one the product stays, and no picture finds it any more."""
    return edited_answer(
        await edits.edit(product, conditions, lambda seen: without_view(existing(seen, product), sha256))
    )


async def _product(services: Services, product_id: str) -> StoredProduct:
    stored = await read_product(services.products, product_id)
    if stored is None:
        raise no_product(product_id)
    return stored


async def _view(services: Services, product_id: str, digest: str) -> View:
    stored = await _product(services, product_id)
    for view in stored.product.views:
        if view.image == digest:
            return view
    raise no_image(product_id, digest)


async def _pictures(request: Request) -> list[bytes]:
    """The pictures of the body.

    Raises:
        Problem: it has none, or too many (400), or is of another type (415).
    """
    content_type = request.headers.get("content-type", "")
    if is_form(content_type):
        return _form_pictures(content_type, await request.body())
    kind = content_type.partition(";")[0].strip().lower()
    if not (kind.startswith("image/") or kind == "application/octet-stream"):
        raise Problem(
            415, "unsupported_media_type", "the body is neither a picture nor a form",
            hint="Send Content-Type: image/jpeg, or multipart/form-data with fields named image",
        )  # fmt: skip
    if not (body := await request.body()):
        raise Problem(400, "invalid_request", "the body is empty", hint="Send a picture")
    return [body]


def _form_pictures(content_type: str, body: bytes) -> list[bytes]:
    parts = read_form(content_type, body, files={"image": IMAGES_MAX})
    pictures = [part.data for part in parts if part.name == "image"]
    if not pictures or len(pictures) < len(parts):
        raise Problem(
            400, "invalid_form", "the form has other parts than image, or none",
            hint=f"Send 1 to {IMAGES_MAX} parts named image, each with a file",
        )  # fmt: skip
    return pictures
