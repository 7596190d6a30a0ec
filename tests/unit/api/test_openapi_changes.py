"""Each way to break a client between two versions of the API is named, and nothing else is."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from docs.openapi_changes import breaking_changes

Document = dict[str, Any]

DOCUMENT: Document = {
    "paths": {
        "/v1/things": {
            "get": {
                "operationId": "list_things",
                "security": [{"api_key": ["read"]}, {"bearer": ["read"]}],
                "parameters": [
                    {"in": "query", "name": "q", "schema": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
                    {"in": "query", "name": "page_size", "schema": {"type": "integer", "maximum": 500, "default": 50}},
                    {"in": "query", "name": "order", "schema": {"enum": ["name", "time"]}},
                ],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Things"}}}},
                    "404": {"content": {"application/problem+json": {}}},
                },
            },
            "post": {
                "operationId": "create_thing",
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}},
                        "multipart/form-data": {"schema": {"type": "object"}},
                    }
                },
                "responses": {"201": {}},
            },
        }
    },
    "components": {
        "schemas": {
            "Things": {
                "type": "object",
                "properties": {
                    "items": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                    "state": {"enum": ["old", "new"]},
                },
                "required": ["items"],
            },
            "Thing": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 100},
                    "price": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]},
                    "parent": {"anyOf": [{"$ref": "#/components/schemas/Thing"}, {"type": "null"}]},
                    "source": {"oneOf": [{"$ref": "#/components/schemas/File"}, {"$ref": "#/components/schemas/Link"}]},
                },
                "required": ["name"],
            },
            "File": {
                "title": "File",
                "type": "object",
                "properties": {"path": {"type": "string"}},
                "required": ["path"],
            },
            "Link": {"title": "Link", "type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
        }
    },
}


Change = Callable[[Document], object]

GET, POST, SCHEMAS = "paths//v1/things/get", "paths//v1/things/post", "components/schemas"
Q, PAGE_SIZE, ORDER = (f"{GET}/parameters/{number}/schema" for number in range(3))
NAME, PRICE, SOURCE = (f"{SCHEMAS}/Thing/properties/{name}" for name in ("name", "price", "source"))


def at(document: Document, place: str) -> Any:
    """The part of the document at a place; a double slash begins the name of a path."""
    found: Any = document
    for part in place.replace("//v1/things", "/~things").split("/"):
        found = found[int(part)] if isinstance(found, list) else found[part.replace("~things", "/v1/things")]
    return found


def with_values(place: str, **values: Any) -> Change:
    return lambda document: at(document, place).update(values)


def without(place: str, key: str | int) -> Change:
    return lambda document: at(document, place).pop(key)


def with_another(place: str, value: Any) -> Change:
    return lambda document: at(document, place).append(value)


def changed(change: Change) -> list[str]:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return breaking_changes(DOCUMENT, document)


BREAKING: dict[str, Change] = {
    "GET /v1/things is gone": without("paths//v1/things", "get"),
    "GET /v1/things: its operationId was list_things, generated clients name their functions after it": with_values(
        GET, operationId="things"
    ),
    "GET /v1/things: the query parameter q is gone": without(f"{GET}/parameters", 0),
    "GET /v1/things: the query parameter q is required now": with_values(f"{GET}/parameters/0", required=True),
    "GET /v1/things: the query parameter q may no longer be null": without(f"{Q}/anyOf", 1),
    "GET /v1/things: the query parameter q may no longer be string": with_values(f"{Q}/anyOf/0", type="integer"),
    "GET /v1/things: maximum of the query parameter page_size was 500 and is 100": with_values(PAGE_SIZE, maximum=100),
    "GET /v1/things: minimum of the query parameter page_size was not set and is 1": with_values(PAGE_SIZE, minimum=1),
    "GET /v1/things: the default of the query parameter page_size was 50 and is 20": with_values(PAGE_SIZE, default=20),
    "GET /v1/things: the query parameter order no longer takes time": with_values(ORDER, enum=["name", "size"]),
    "GET /v1/things: the query parameter since is new and required": with_another(
        f"{GET}/parameters", {"in": "query", "name": "since", "required": True}
    ),
    "GET /v1/things: bearer (read) no longer suffices": without(f"{GET}/security", 1),
    "GET /v1/things: it no longer answers 200": without(f"{GET}/responses", "200"),
    "GET /v1/things: the answer 200 is no longer application/json": without(f"{GET}/responses/200", "content"),
    "GET /v1/things: state in the answer 200 is gone": without(f"{SCHEMAS}/Things/properties", "state"),
    "GET /v1/things: items in the answer 200 is not always there any more": without(f"{SCHEMAS}/Things/required", 0),
    "GET /v1/things: state in the answer 200 may be null now": with_another(
        f"{SCHEMAS}/Things/properties/state/enum", None
    ),
    "POST /v1/things: it needs a key now": with_values(POST, security=[{"api_key": []}]),
    "POST /v1/things: a body is required now": with_values(f"{POST}/requestBody", required=True),
    "POST /v1/things: it no longer takes multipart/form-data": without(
        f"{POST}/requestBody/content", "multipart/form-data"
    ),
    "POST /v1/things: maxLength of name in the body was 100 and is 50": with_values(NAME, maxLength=50),
    "POST /v1/things: minimum of price in the body was 0 and is 1": with_values(f"{PRICE}/anyOf/0", minimum=1),
    "POST /v1/things: the pattern of name in the body was not set and is ^a": with_values(NAME, pattern="^a"),
    "POST /v1/things: price in the body is required now": with_another(f"{SCHEMAS}/Thing/required", "price"),
    "POST /v1/things: the body takes no other properties any more": with_values(
        f"{SCHEMAS}/Thing", additionalProperties=False
    ),
    "POST /v1/things: source in the body may no longer be Link": without(f"{SOURCE}/oneOf", 1),
}


@pytest.mark.parametrize("expected", BREAKING)
def test_a_breaking_change_is_named(expected: str) -> None:
    assert expected in changed(BREAKING[expected])


@pytest.mark.parametrize(
    "change",
    [
        with_values("paths", **{"/v1/more": {"get": {"responses": {}}}}),
        with_another(f"{GET}/parameters", {"in": "query", "name": "since"}),
        with_values(f"{GET}/responses", **{"409": {}}),
        without(f"{GET}/responses", "404"),
        with_another(f"{GET}/security", {"oidc": []}),
        with_values(GET, summary="Another text"),
        with_values(f"{SCHEMAS}/Things/properties", count={"type": "integer"}),
        with_another(f"{SCHEMAS}/Things/required", "state"),
        with_another(f"{SCHEMAS}/Things/properties/state/enum", "lost"),
        without(NAME, "maxLength"),
        with_values(PAGE_SIZE, type="number"),
        with_another(f"{ORDER}/enum", "size"),
    ],
)
def test_what_no_client_notices_is_no_breaking_change(change: Change) -> None:
    assert changed(change) == []


def test_a_schema_that_contains_itself_ends() -> None:
    assert breaking_changes(DOCUMENT, DOCUMENT) == []


def test_what_an_answer_may_be_in_addition_is_named() -> None:
    assert changed(with_another(f"{SOURCE}/oneOf", {"type": "string"})) == [
        "GET /v1/things: source in each of items in the answer 200 may be another string"
    ]
