"""JSON Schemas, AsyncAPI document, docs/subscribe.md and code say the same about messages."""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from framematch.core.camera_settings import WantedCamera
from framematch.core.cloud_events import match_headers
from framematch.core.errors import BadFrameError
from framematch.core.events import CameraStatus, LogEvent, MatchEvent, SightingEvent, json_schema
from framematch.core.frames import (
    CAMERA_PATTERN,
    SEQUENCE_PATTERN,
    TRACEPARENT_PATTERN,
    Frame,
    frame_headers,
    parse_frame,
)
from framematch.core.ids import frame_id, match_event_id, sighting_event_id, sighting_id
from tests.sample_events import match_event
from tests.unit.core.test_asyncapi import AT, DOCUMENT, TRACE

KINDS: dict[str, Any] = {
    "match.v1": MatchEvent,
    "sighting.v1": SightingEvent,
    "camera-status.v1": CameraStatus,
    "camera-settings.v1": WantedCamera,
    "log.v1": LogEvent,
}
PAGE = (Path(__file__).parents[3] / "docs" / "subscribe.md").read_text(encoding="utf-8")
HEADER_SCHEMAS = DOCUMENT["components"]["schemas"]
LARGEST_IN_JAVASCRIPT = 2**53 - 1


@dataclass(frozen=True)
class Value:
    """What a schema says of a value: JSON types, or the allowed values; pattern and format."""

    types: frozenset[str]
    allowed: frozenset[str]
    pattern: str | None
    format: str | None


def values(schema: dict[str, Any], defs: dict[str, Any], path: str = "") -> Iterator[tuple[str, Value]]:
    """The values at all paths of an object, such as `frame.camera`."""
    parts = list(alternatives(schema, defs))
    types: set[str] = set()
    allowed: set[str | None] = set()
    for part in parts:
        named = part.get("type", [])
        types |= {named} if isinstance(named, str) else set(named)
        allowed |= {*part.get("enum", []), *([part["const"]] if "const" in part else [])}
    if None in allowed:
        types.add("null")
    if any(part.get("format") == "decimal" for part in parts):  # msgspec's for a number with all of its digits
        types, parts = types - {"string"} | {"number"}, [part for part in parts if part.get("format") != "decimal"]
    pattern, form = (next((part[name] for part in parts if name in part), None) for name in ("pattern", "format"))
    yield path, Value(frozenset(types), frozenset(value for value in allowed if value is not None), pattern, form)
    for part in parts:
        for name, inner in part.get("properties", {}).items():
            yield from values(inner, defs, f"{path}.{name}".strip("."))
        items = part.get("items")
        if isinstance(items, dict) and "properties" in (inner := next(iter(alternatives(items, defs)))):
            yield from values(inner, defs, f"{path}[]")


def alternatives(schema: dict[str, Any], defs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    yield schema
    for part in [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
        yield from alternatives(part, defs)


def required(schema: dict[str, Any], defs: dict[str, Any], path: str = "") -> set[str]:
    """The paths of all fields that must be there when their object is."""
    found = set()
    for part in alternatives(schema, defs):
        found |= {f"{path}.{name}".strip(".") for name in part.get("required", [])}
        for name, inner in part.get("properties", {}).items():
            found |= required(inner, defs, f"{path}.{name}".strip("."))
    return found


def in_code(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    schema = msgspec.json.schema(kind)
    return schema, schema["$defs"]


@pytest.mark.parametrize("name", KINDS)
def test_a_schema_has_the_fields_types_values_patterns_and_formats_of_the_code(name: str) -> None:
    published, code = dict(values(json_schema(name), {})), dict(values(*in_code(KINDS[name])))
    shown = {path: value for path, value in published.items() if not path.startswith("timings_ms.")}  # keys of a dict
    # An id is plain text in the code: a consumer's own are UUIDs, and a reader need not check.
    assert {
        path: replace(value, format=None if value.format == "uuid" else value.format) for path, value in shown.items()
    } == code


@pytest.mark.parametrize("name", KINDS)
def test_what_a_reader_in_python_needs_is_required_by_the_schema(name: str) -> None:
    schema, defs = in_code(KINDS[name])
    assert required(schema, defs) <= required(json_schema(name), {})


def test_the_stages_of_the_timings_are_those_of_the_schema_and_the_page() -> None:
    stages = set(json_schema("match.v1")["properties"]["timings_ms"]["properties"])
    spans = {"wait", "decode", "batch", "infer", "search", "enrich"}
    code = "".join(path.read_text() for path in (Path(__file__).parents[3] / "consumers").rglob("*.py"))
    assert all(re.search(rf"spans\[\"{stage}\"\] = |_record_span\(batch, \"{stage}\"", code) for stage in spans)
    assert set(re.findall(r"spans\[\"(\w+)\"\] = ", code)) <= spans
    assert stages == spans | {"age"}
    [row] = re.findall(r"^\| `timings_ms` \|.*$", PAGE, re.MULTILINE)
    assert stages <= set(re.findall(r"`(\w+)`", row))


def rows(heading: str, column: str) -> dict[str, str]:
    """The rows of the section's table whose first column is `column`: the first cell, and the rest."""
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    table = section.partition(f"| {column} |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| (`.*?) \| (.*) \|$", table, re.MULTILINE))


def documented(heading: str) -> dict[str, str]:
    """The fields in a table, `frame.topic`, `.partition` written out, with their meaning."""
    fields: dict[str, str] = {}
    for cell, meaning in rows(heading, "field").items():
        names = re.findall(r"`([\w.]+)`", cell)
        parent = names[0].rpartition(".")[0]
        fields |= {f"{parent}{name}" if name.startswith(".") else name: meaning for name in names}
    return fields


@pytest.mark.parametrize(
    ("name", "heading"), [("match.v1", "## The match event, field by field"), ("sighting.v1", "## Sightings")]
)
def test_the_page_documents_every_field_of_an_event(name: str, heading: str) -> None:
    found = set(documented(heading))
    objects = {field.partition(".")[0] for field in found if "." in field}  # whose fields have rows of their own
    paths = {path for path, _ in values(json_schema(name), {}) if path and "[]" not in path}
    assert found == {path for path in paths if (path.partition(".")[0] in objects) == ("." in path)}


def test_the_page_names_the_parts_of_a_match_event_that_have_no_row() -> None:
    page_fields = documented("## The match event, field by field")
    paths = [path for path, _ in values(json_schema("match.v1"), {})]
    for parent in ("product", "sighting", "candidates[]"):
        names = {path.removeprefix(f"{parent}.") for path in paths if path.startswith(f"{parent}.")}
        shown = re.findall(r"`(\w+)`", page_fields[parent.removesuffix("[]")])
        assert {name for name in names if not re.search(r"[.\[]", name)} <= set(shown), parent


def test_the_page_names_every_header_of_a_match_event() -> None:
    paragraph = PAGE.partition("Headers follow the CloudEvents")[2].partition("\n\n")[0]
    assert {name for name, _ in match_headers(match_event(), AT, TRACE)} <= set(re.findall(r"`([\w-]+)`", paragraph))


def test_the_headers_of_a_frame_that_the_page_and_asyncapi_call_necessary_are_those_that_a_consumer_needs() -> None:
    table = rows("## Send frames yourself", "header")
    needed = {name.strip("`") for name, rest in table.items() if rest.startswith("yes")}
    frame = Frame("till-1", 1, 2, ((1, 2, 3, 4),), TRACE, 3, "rtcp", replayed=True)
    headers = dict(frame_headers(frame))
    assert {name.strip("`") for name in table} == headers.keys() - {
        "ce_specversion", "ce_id", "ce_source", "content-type",
    }  # fmt: skip
    assert parse_frame(b"till-1", [(name, headers[name]) for name in needed]) == Frame("till-1", 1, 2)
    for left_out in needed:
        with pytest.raises(BadFrameError, match=left_out):
            parse_frame(b"till-1", [(name, headers[name]) for name in needed - {left_out}])
    assert all(name in DOCUMENT["components"]["messages"]["frame"]["description"] for name in needed)


@pytest.mark.parametrize("ce_id", [None, b"", b"my-own", str(uuid.UUID(int=0)).encode()])
def test_the_id_of_a_frame_is_derived_whatever_its_ce_id(ce_id: bytes | None) -> None:
    frame = Frame("till-1", 1, 2)
    assert parse_frame(b"till-1", [*frame_headers(frame), ("ce_id", ce_id)]).id == frame.id


def test_patterns_of_headers_are_those_of_the_code() -> None:
    assert HEADER_SCHEMAS["camera"]["pattern"] == CAMERA_PATTERN
    assert HEADER_SCHEMAS["trace"]["pattern"] == TRACEPARENT_PATTERN
    [frame] = [part for part in HEADER_SCHEMAS["frameHeaders"]["allOf"] if "properties" in part]
    assert frame["properties"]["ce_sequence"]["pattern"] == SEQUENCE_PATTERN


def test_every_sequence_that_is_taken_is_exact_in_javascript() -> None:
    largest = json_schema("match.v1")["properties"]["frame"]["properties"]["sequence"]["maximum"]
    assert re.fullmatch(SEQUENCE_PATTERN, str(largest))
    assert not re.fullmatch(SEQUENCE_PATTERN, str(largest + 1))
    assert largest <= LARGEST_IN_JAVASCRIPT


def test_ids_follow_the_recipe_on_the_page_and_in_asyncapi() -> None:
    [space] = set(re.findall(r"namespace\s+`?([0-9a-f-]{36})", PAGE + DOCUMENT["info"]["description"]))

    def by_recipe(*lines: object) -> str:
        return str(uuid.uuid5(uuid.UUID(space), "\n".join(map(str, lines))))

    frame = by_recipe("frame", "till-1", 1_767_225_600_123_456, 42)
    event = by_recipe("match", frame, "(10, 20, 300, 200)", "match.v1")
    sighting = by_recipe("sighting", "till-1", "milk", frame)
    assert frame == frame_id("till-1", 1_767_225_600_123_456, 42)
    assert event == match_event_id(frame, (10, 20, 300, 200), "match.v1")
    assert sighting == sighting_id("till-1", "milk", frame)
    change = by_recipe("sighting-event", sighting, "ended", frame, "sighting.v1")
    assert change == sighting_event_id(sighting, "ended", frame, "sighting.v1")
    assert f"`{frame}`" in PAGE
    assert f"`{event}`" in PAGE


def test_the_command_for_go_gets_the_package_of_the_program_into_a_module() -> None:
    program = PAGE.partition("```go\n")[2].partition("```")[0]
    [package] = re.findall(r'"(github\.com/[^"]+)"', program)
    assert re.search(rf"`go mod init \S+ && go get {re.escape(package)} && go run \.`", PAGE)


def test_the_asyncapi_document_is_of_the_current_version() -> None:
    assert DOCUMENT["asyncapi"] == "3.1.0"  # checked with @asyncapi/parser 3.6: no errors, no warnings
