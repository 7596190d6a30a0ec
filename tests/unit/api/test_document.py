"""The OpenAPI document: it is the committed one, breaks no client, and says what a client must know."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from docs.openapi import app_document, as_text, committed_document
from docs.openapi_changes import breaking_changes
from framematch.api.app import routed_app
from framematch.api.routes.document import FOLDER

DOCUMENT = app_document()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
# Of swagger-ui-dist 5.35.0 on npm. The bundle is 1.7 MB, so it is compared by its digest.
VENDORED = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
OWN = {"index.html", "start.js"}

each_operation = pytest.mark.parametrize("name", OPERATIONS)


def test_no_change_breaks_clients_of_the_committed_document() -> None:
    assert breaking_changes(committed_document(), DOCUMENT) == [], "see docs/api.md#versions-and-compatibility"


def test_the_committed_document_is_that_of_the_application() -> None:
    assert as_text(committed_document()) == as_text(DOCUMENT), "run: python -m docs.openapi"


@each_operation
def test_an_operation_has_a_summary_a_name_a_tag_and_a_description(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"].strip(".") == operation["summary"]
    assert len(operation["tags"]) == 1
    assert operation["description"]


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert sorted(set(names)) == sorted(names)
    assert all(name.isidentifier() and name.islower() for name in names)


@each_operation
def test_an_operation_says_which_keys_may_use_it(name: str) -> None:
    operation = OPERATIONS[name]
    schemes = DOCUMENT["components"]["securitySchemes"].keys()
    needed = [scheme for way in operation["security"] for scheme in way]
    assert set(needed) == (set() if operation["x-framematch-access"]["scope"] == "public" else schemes)
    assert {"401", "403", "429", "503"} <= operation["responses"].keys() or not needed


@each_operation
def test_every_error_is_a_problem(name: str) -> None:
    errors = {status: answer for status, answer in OPERATIONS[name]["responses"].items() if int(status) >= 400}
    assert {"400", "500"} <= errors.keys()
    assert "422" not in errors
    inside = {"/readyz", "/health"} & {name.split()[1]}  # 503 there is the report itself
    assert all("$ref" in answer for status, answer in errors.items() if not (inside and status == "503"))


@each_operation
def test_what_goes_in_and_out_as_json_has_an_example_of_each_text(name: str) -> None:
    operation = OPERATIONS[name]
    contents = [operation.get("requestBody", {}).get("content", {})]
    contents += [answer.get("content", {}) for status, answer in operation["responses"].items() if status[0] == "2"]
    bodies = [one["application/json"] for one in contents if "application/json" in one]
    assert [
        place for body in bodies for place in without_example(body.get("schema", {}), "body") if not examples(body)
    ] == []


def examples(part: dict[str, Any]) -> bool:
    return any(part.get(name) is not None for name in ("example", "examples", "const", "enum")) or "default" in part


def without_example(schema: dict[str, Any], place: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The places of texts that must be there and of which nobody knows what they look like: they have no example."""
    if (reference := schema.get("$ref")) in seen or examples(schema):
        return
    if reference:
        target = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
        yield from without_example(target, place, seen | {reference})
    elif alternatives := [one for one in schema.get("anyOf", schema.get("oneOf", ())) if one.get("type") != "null"]:
        yield from without_example(alternatives[0], place, seen)
    elif "properties" in schema:
        for name in schema.get("required", ()):
            yield from without_example(schema["properties"][name], f"{place}.{name}", seen)
    elif "items" in schema:
        yield from without_example(schema["items"], f"{place}[]", seen)
    elif schema.get("type") == "string" and "format" not in schema:
        yield place


@pytest.mark.parametrize("file", VENDORED)
def test_a_file_of_swagger_ui_is_the_one_that_was_published(file: str) -> None:
    assert hashlib.sha256((FOLDER / file).read_bytes()).hexdigest() == VENDORED[file]


def test_there_is_no_other_file_beside_swagger_ui() -> None:
    assert {path.name for path in FOLDER.iterdir()} == VENDORED.keys() | OWN


def test_the_notices_name_swagger_ui_and_its_licence() -> None:
    notices = (Path(__file__).parents[3] / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8")
    assert "Swagger UI 5.35.0" in notices
    assert "framematch/api/swagger_ui" in notices


async def test_the_docs_page_loads_nothing_from_elsewhere_and_has_nothing_inline() -> None:
    transport = httpx.ASGITransport(routed_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        page = await client.get("/docs")
        policy = dict(part.split(maxsplit=1) for part in page.headers["content-security-policy"].split("; "))
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["default-src"] == "'none'"
        assert "//" not in page.text
        assert "<script>" not in page.text
        assert "style=" not in page.text
        files = [part.split('"')[0] for part in page.text.split('="docs/')[1:]]
        assert files == ["swagger-ui.css", "swagger-ui-bundle.js", "start.js"]
        for file in files:
            answer = await client.get(f"/docs/{file}")
            assert answer.content == (FOLDER / file).read_bytes()
            assert answer.headers["content-type"].partition(";")[0] in ("text/css", "text/javascript")
        assert (await client.get("/openapi.json")).json() == DOCUMENT


def test_the_addresses_of_page_and_document_hold_below_a_prefix_of_a_proxy() -> None:
    assert DOCUMENT["servers"][0]["url"] == "."
    assert 'url: "openapi.json"' in (FOLDER / "start.js").read_text(encoding="utf-8")
    assert 'href="/' not in (FOLDER / "index.html").read_text(encoding="utf-8")
    assert 'src="/' not in (FOLDER / "index.html").read_text(encoding="utf-8")
