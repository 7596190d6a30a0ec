"""Products: list, read, create, replace, change and delete one."""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Body, Depends, Path, Query, Response
from pydantic import AfterValidator, ValidationError

from framematch.api.access.policy import access
from framematch.api.etags import Conditions, CurrentConditions, quoted
from framematch.api.exact_answers import exact_answer, exact_body
from framematch.api.guard.encoded_path import decoded_segment
from framematch.api.idempotency import IdempotencyKey, MadeAnswer, once
from framematch.api.merge_patch import merge_patch
from framematch.api.paging import PAGE_SIZE
from framematch.api.problems import FieldProblem, Problem
from framematch.api.product_edits import Edited, ProductEdits, existing, no_product
from framematch.api.schemas.archived_events import Time
from framematch.api.schemas.pages import PageSize, PageToken
from framematch.api.schemas.problem import problems
from framematch.api.schemas.products import (
    NewReferenceImage,
    ProductAnswer,
    ProductBody,
    ProductFields,
    ProductList,
    product_id_problem,
    to_fields,
    to_product,
)
from framematch.api.services import CurrentPrincipal, CurrentServices
from framematch.catalog.importing.presets.cell_values import normal_id
from framematch.catalog.product import StoredProduct, View
from framematch.catalog.product_pages import ProductQuery, read_page, read_product
from framematch.catalog.snapshots.storage import open_storage
from framematch.core.paths import state_dir
from framematch.core.timestamps import from_rfc3339

router = APIRouter(tags=["products"])

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BODY_MB = 25.0  # one picture of 15 MB in Base64, or several smaller ones
_ETAG = {"ETag": {"description": "of the product as it is now", "schema": {"type": "string"}}}


def product_edits(services: CurrentServices) -> ProductEdits:
    """The edits of the catalogue."""
    return ProductEdits(services.products, services.changes, services.threads.decode)


ProductId = Annotated[
    str,
    Path(description="its id, percent-encoded: `a%2Fb` for `a/b`", examples=["4011"]),
    AfterValidator(lambda segment: normal_id(decoded_segment(segment))),
]
CurrentEdits = Annotated[ProductEdits, Depends(product_edits)]


@router.get("/v1/products", summary="List products", openapi_extra=access("read"), response_model=ProductList)
async def list_products(
    services: CurrentServices,
    *,
    page_size: PageSize = PAGE_SIZE,
    page_token: PageToken = None,
    category: Annotated[str | None, Query(description="exactly this one")] = None,
    q: Annotated[
        str | None,
        Query(
            max_length=200,
            pattern=r"^[^\x00]*$",
            description="each word is somewhere in the name, category, brand, description or the numbers of the "
            "articles, in any case, with or without accents; or it starts the id",
        ),
    ] = None,
    updated_after: Annotated[Time | None, Query(description="last written after this time")] = None,
) -> Response:
    """Products in the order of their ids.

    A page may have fewer than `page_size` products although there are more: the list ends where `next_page_token` is
    null.
    """
    wanted = {"products": 1, "category": category, "q": q, "updated_after": updated_after}
    after = "" if not page_token else str(services.page_tokens.open(page_token, wanted)[0])
    query = ProductQuery(category, q, None if updated_after is None else _to_datetime(updated_after))
    page = await read_page(services.products, query, after=after, limit=page_size)
    return exact_answer(
        ProductList(
            items=[ProductAnswer.of(stored) for stored in page.products],
            next_page_token=None if page.next_after is None else services.page_tokens.sign([page.next_after], wanted),
        )
    )


@router.get(
    "/v1/products/{product}",
    summary="Read a product",
    openapi_extra=access("read"),
    responses={**problems(404), 200: {"headers": _ETAG}, 304: {"description": "It is as `If-None-Match` has it."}},
    response_model=ProductAnswer,
)
async def get_product(product: ProductId, services: CurrentServices, conditions: CurrentConditions) -> Response:
    """The product with its reference images."""
    stored = await read_product(services.products, product)
    if stored is None:
        raise no_product(product)
    headers = {"ETag": quoted(stored.etag)}
    if conditions.not_modified(stored.etag):
        return Response(status_code=304, headers=headers)
    return exact_answer(ProductAnswer.of(stored), headers=headers)


@router.post(
    "/v1/products",
    summary="Create a product",
    status_code=201,
    openapi_extra=access("operate", body_mb=_BODY_MB),
    responses={**problems(409, 503), 201: {"headers": _ETAG}},
    response_model=ProductAnswer,
)
async def create_product(
    body: ProductBody,
    services: CurrentServices,
    *,
    principal: CurrentPrincipal,
    edits: CurrentEdits,
    product_id: Annotated[str | None, Query(description="its id; without one it gets an id")] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Create a product, with an id of yours or a new one.

    With reference images it is searched within seconds, by all processes. `Idempotency-Key` makes a repetition safe
    after a broken connection.
    """
    wanted_id = None if product_id is None else _new_id(product_id)

    async def make(new_id: str, repeated: bool) -> MadeAnswer:
        views = await _views(edits, body.reference_images)
        conditions = Conditions() if repeated else Conditions(none_match=frozenset("*"))
        target = wanted_id or new_id
        try:
            edited = await edits.edit(target, conditions, lambda _seen: to_product(target, body.fields(), views or ()))
        except Problem as problem:
            if problem.code != "precondition_failed":
                raise
            raise Problem(
                409, "exists", f"there is a product {target!r} already", hint=f"PUT /v1/products/{_path(target)}"
            ) from None
        return _made(edited)

    if idempotency_key is None:
        answer = await make(uuid.uuid4().hex, False)
    else:
        request = json.dumps([product_id, body.model_dump(mode="json")], sort_keys=True).encode()
        answer = await once(services.database, principal, idempotency_key, b"POST /v1/products " + request, make)
    replayed = {"Idempotent-Replayed": "true"} if answer.replayed else {}
    return Response(answer.body, answer.status, {**answer.headers, **replayed}, "application/json")


@router.put(
    "/v1/products/{product}",
    summary="Create or replace a product",
    openapi_extra=access("operate", body_mb=_BODY_MB),
    responses={
        **problems(409, 412, 503),
        200: {"headers": _ETAG},
        201: {"model": ProductAnswer, "description": "It was created.", "headers": _ETAG},
    },
    response_model=ProductAnswer,
)
async def put_product(
    product: ProductId,
    body: ProductBody,
    conditions: CurrentConditions,
    edits: CurrentEdits,
) -> Response:
    """Replace the product's fields, and its reference images if the body has some; else they stay.

    With `If-Match` only the product that you have read is replaced, with `If-None-Match: *` none.
    """
    views = await _views(edits, body.reference_images)

    def edit(seen: StoredProduct | None) -> Any:
        target = product if seen else _new_id(product)
        kept = seen.product.views if seen else ()
        return to_product(target, body.fields(), kept if views is None else views)

    return edited_answer(await edits.edit(product, conditions, edit))


@router.patch(
    "/v1/products/{product}",
    summary="Change a product",
    openapi_extra=access("operate"),
    responses={**problems(404, 409, 412, 503), 200: {"headers": _ETAG}},
    response_model=ProductAnswer,
)
async def patch_product(
    product: ProductId,
    conditions: CurrentConditions,
    edits: CurrentEdits,
    patch: Annotated[
        dict[str, Any],
        Body(description="a JSON merge patch (RFC 7396): null removes a member", examples=[{"price": 0.5}]),
    ],
) -> Response:
    """Change some fields. Two changes of other fields at the same time are both made."""

    def edit(seen: StoredProduct | None) -> Any:
        current = existing(seen, product)
        return to_product(product, _patched(to_fields(current), patch), current.views)

    return edited_answer(await edits.edit(product, conditions, edit))


@router.delete(
    "/v1/products/{product}",
    summary="Delete a product",
    status_code=204,
    openapi_extra=access("operate"),
    responses=problems(404, 409, 412, 503),
)
async def delete_product(
    product: ProductId, services: CurrentServices, conditions: CurrentConditions, edits: CurrentEdits
) -> None:
    """Delete a product: within seconds no process finds it. Its pictures are kept."""
    storage = open_storage(services.settings.snapshots.url, services.database)
    await edits.remove(product, conditions, storage, state_dir() / "snapshots")


async def _views(edits: ProductEdits, images: Sequence[NewReferenceImage] | None) -> tuple[View, ...] | None:
    """The views of new reference images, which are stored; None without a list."""
    if images is None:
        return None
    for number, image in enumerate(images):
        if (image.content is None) == (image.sha256 is None):
            pointer = f"/reference_images/{number}"
            detail = "has either content or sha256"
            raise Problem(
                400, "invalid_request", f"{pointer}: {detail}", hint="Give one of them",
                errors=[FieldProblem(pointer, detail)],
            )  # fmt: skip
    stored = iter(await edits.store_pictures([image.content for image in images if image.content is not None]))
    views = [next(stored) if image.sha256 is None else await edits.stored_view(image.sha256) for image in images]
    return tuple({view.image: view for view in views}.values())


def _patched(fields: dict[str, Any], patch: dict[str, Any]) -> ProductFields:
    """The fields with a merge patch.

    Raises:
        Problem: the result is no product (400).
    """
    if "reference_images" in patch:
        raise Problem(
            400, "invalid_request", "/reference_images: cannot be patched",
            hint="POST to the product's reference_images, or DELETE one",
        )  # fmt: skip
    try:
        return ProductFields.model_validate(merge_patch(fields, patch))
    except ValidationError as error:
        found = [
            FieldProblem("/" + "/".join(map(str, one["loc"])), str(one["msg"]).removeprefix("Value error, "))
            for one in error.errors(include_input=False, include_url=False)
        ]
        text = f"{found[0].pointer}: {found[0].detail}"
        raise Problem(400, "invalid_request", text, hint="See /docs for what is allowed", errors=found) from None


def _new_id(text: str) -> str:
    """The id of a product that is going to be made.

    Raises:
        Problem: there can be none with this id (400).
    """
    product_id = normal_id(text)
    if problem := product_id_problem(product_id):
        raise Problem(400, "invalid_request", f"product_id: {problem}", hint="Choose another id")
    return product_id


def _to_datetime(time: str) -> datetime:
    return _EPOCH + timedelta(microseconds=from_rfc3339(time))


def _made(edited: Edited) -> MadeAnswer:
    body = exact_body(ProductAnswer.of(edited.stored, edited.change))
    location = f"/v1/products/{_path(edited.stored.product.id)}"
    return MadeAnswer(201, {"ETag": quoted(edited.stored.etag), "Location": location}, body)


def edited_answer(edited: Edited, *, status: int = 200) -> Response:
    """The product as an edit has left it; one that was created has status 201 and its location."""
    headers = {"ETag": quoted(edited.stored.etag)}
    if edited.created:
        status, headers["Location"] = 201, f"/v1/products/{_path(edited.stored.product.id)}"
    return exact_answer(ProductAnswer.of(edited.stored, edited.change), status=status, headers=headers)


def _path(product_id: str) -> str:
    return quote(product_id, safe="")
