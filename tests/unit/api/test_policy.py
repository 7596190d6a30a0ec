"""What routes declare, and how the guard reads it."""

from types import SimpleNamespace

import pytest

from framematch.api.access.policy import EXTENSION, Access, access, access_of


def test_the_guard_reads_what_the_route_declares() -> None:
    route = SimpleNamespace(openapi_extra=access("match", body_mb=40, pictures=True))
    assert access_of(route) == Access("match", 40, pictures=True)
    assert Access("match", 1.5).body_bytes == 1_500_000


def test_a_public_route_needs_no_scope_and_no_key() -> None:
    extra = access("public")
    assert access_of(SimpleNamespace(openapi_extra=extra)) == Access(None)
    assert extra["security"] == []


def test_the_document_names_the_scope_for_each_kind_of_key() -> None:
    assert access("operate")["security"] == [{"api_key": ["operate"]}, {"bearer": ["operate"]}]


@pytest.mark.parametrize(
    "extra",
    [None, {}, {"summary": "x"}, {EXTENSION: None}, {EXTENSION: {"scope": "root", "body_mb": 1, "pictures": False}}],
)
def test_a_route_that_declares_nothing_has_no_access(extra: object) -> None:
    assert access_of(SimpleNamespace(openapi_extra=extra)) is None
    assert access_of(object()) is None
