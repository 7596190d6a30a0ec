"""Whatever a client sends, the API answers as its OpenAPI document says, and never with a bug.

Schemathesis makes the requests: valid ones, and such that the document does not allow.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from demo.dataset import DATA_DIR
from demo.services import Service
from docs.openapi import committed_document
from framematch.core.local_stack import LocalStack
from tests.e2e.commands import run_here
from tests.e2e.site import Site, unique_prefix

# Streams do not end, and have tests of their own.
ENDLESS = {"GET /v1/events/stream"}
OPERATIONS = [
    name
    for path, operations in committed_document()["paths"].items()
    for method in operations
    if (name := f"{method.upper()} {path}") not in ENDLESS
]
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance, response_headers_conformance]
PRODUCTS = 3
TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def api(servers: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The API with an index of a few products, in a database that requests may do anything to."""
    folder, prefix = tmp_path_factory.mktemp("contract"), unique_prefix()
    products = folder / "products.csv"
    products.write_text(
        "".join((DATA_DIR / "catalog.csv").read_text("utf-8").splitlines(True)[: PRODUCTS + 1]), "utf-8"
    )
    with Site(servers, folder, prefix=prefix) as site:
        site.environment |= {"FRAMEMATCH_MONGODB__DATABASE": prefix, "FRAMEMATCH_API__AUTH": "none"}
        run_here("catalog", "import", str(products), "--images", str(DATA_DIR), environment=site.environment)
        run_here("catalog", "build", environment=site.environment)
        yield site.start("api")


@pytest.fixture(scope="module")
def requests_of() -> dict[str, Any]:
    """By operation: what makes its requests, valid and invalid ones. Any: strategies of hypothesis."""
    schema = schemathesis.openapi.from_dict(committed_document())
    found = {}
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        valid = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        invalid = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        found[operation.label] = st.one_of(valid, invalid)
    return found


@pytest.mark.parametrize("name", OPERATIONS)
@seed(15)
@settings(
    max_examples=6,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_every_answer_is_documented_and_none_is_a_bug(
    name: str, data: st.DataObject, api: Service, requests_of: dict[str, Any]
) -> None:
    case = data.draw(requests_of[name])
    response = case.call(base_url=api.url, timeout=TIMEOUT_S)
    assert response.status_code != 500, api.log.splitlines()[-1]
    case.validate_response(response, checks=CHECKS)


def test_what_proxies_and_monitors_ask_has_an_answer(api: Service) -> None:
    with httpx.Client(base_url=api.url) as client:
        assert client.head("/healthz").status_code == client.head("/readyz").status_code == 200
        assert client.head("/v1/status").content == b""
        slash = client.get("/v1/status/")
        assert (slash.status_code, slash.headers["content-type"]) == (404, "application/problem+json")
        assert client.get("/docs/../../../etc/passwd").status_code == 404
        options = client.request("OPTIONS", "/v1/status")
        assert (options.status_code, options.headers["allow"]) == (405, "GET")


def test_the_status_names_servers_and_processes(api: Service) -> None:
    found = httpx.get(f"{api.url}/v1/status").json()
    assert {part["name"] for part in found["parts"]} >= {"mongodb", "triton", "snapshot", "kafka"}
    assert [process["service"] for process in found["processes"]] == ["api"]
    assert {process["snapshot"] for process in found["processes"]} == {found["served"]["id"]}
