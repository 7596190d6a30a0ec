"""The AsyncAPI document matches the code: topics, headers, payloads."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from importlib.metadata import version
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from framematch.core.camera_settings import SETTINGS_SCHEMA
from framematch.core.cloud_events import event_headers, log_headers, match_headers, sighting_headers
from framematch.core.deadletters import Failure
from framematch.core.events import STATUS_SCHEMA, json_schema
from framematch.core.frames import Frame, frame_headers
from framematch.core.kafka.topics import Topics, topic_specs
from framematch.core.settings import KafkaSettings
from tests.sample_events import log_event, match_event, sighting_event

DOCUMENT: dict[str, Any] = yaml.safe_load(
    resources.files("framematch.core.schemas").joinpath("asyncapi.yaml").read_text(encoding="utf-8")
)
TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
AT = "2026-01-01T00:00:00.000000Z"
FRAME = Frame("till-1", 1, 2)
WHOLE_FRAME = replace(FRAME, traceparent=TRACE, grabbed_at_us=3, replayed=True)
FAILURE = Failure("decode", "truncated", "it ends early", "framematch.frames", 3, 7)

# The required headers of each message, and all of its headers.
WRITTEN = {
    "frame": (frame_headers(FRAME), frame_headers(WHOLE_FRAME)),
    "match": (match_headers(match_event(), AT), match_headers(match_event(), AT, TRACE)),
    "sighting": (sighting_headers(sighting_event(), AT),) * 2,
    "status": (event_headers("id", STATUS_SCHEMA, "till-1", AT),) * 2,
    "cameraSettings": (event_headers("id", SETTINGS_SCHEMA, "till-1", AT),) * 2,
    "log": (log_headers(log_event()),) * 2,
    "deadletter": (FAILURE.headers(), replace(FAILURE, timestamp_ms=1, omitted_bytes=9).headers()),
}


def whole(node: Any) -> Any:
    """`node` with its references resolved."""
    if isinstance(node, list):
        return [whole(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" not in node:
        return {name: whole(item) for name, item in node.items()}
    target: str = node["$ref"]
    if not target.startswith("#/"):
        return json_schema(target.removeprefix("./").removesuffix(".json"))
    found = DOCUMENT
    for name in target.removeprefix("#/").split("/"):
        found = found[name]
    return whole(found)


def message(name: str) -> dict[str, Any]:
    found: dict[str, Any] = whole(DOCUMENT["components"]["messages"][name])
    return found


def parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All schemas that apply to a value together."""
    yield schema
    for part in schema.get("allOf", []):
        yield from parts(part)


def as_text(headers: list[tuple[str, bytes]]) -> dict[str, str]:
    return {name: value.decode() for name, value in headers}


def as_config(value: Any) -> str:
    """A configuration value of a topic in Kafka's format."""
    return ",".join(value) if isinstance(value, list) else str(value)


def test_every_topic_is_a_channel_with_the_configuration_of_its_creation() -> None:
    topics = Topics("framematch")
    channels = {channel["address"]: channel["bindings"]["kafka"] for channel in DOCUMENT["channels"].values()}
    assert set(channels) == set(topics.all)
    for spec in topic_specs(KafkaSettings(), brokers=3):
        shape = channels[spec.name]
        configs = {name: as_config(value) for name, value in shape["topicConfiguration"].items()}
        assert (shape["partitions"], configs) == (spec.num_partitions, spec.topic_configs), spec.name


def test_every_reference_resolves() -> None:
    assert "$ref" not in str(whole({name: part for name, part in DOCUMENT.items() if name != "id"}))


@pytest.mark.parametrize("name", WRITTEN)
def test_the_documented_headers_are_those_of_the_code(name: str) -> None:
    schemas = list(parts(message(name)["headers"]))
    required = {header for schema in schemas for header in schema.get("required", [])}
    known = {header for schema in schemas for header in schema.get("properties", {})}
    least, most = (as_text(headers) for headers in WRITTEN[name])
    assert (required, known) == (set(least), set(most))
    for headers in (least, most):
        jsonschema.validate(headers, message(name)["headers"], format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("name", WRITTEN)
def test_examples_are_valid_by_the_schemas(name: str) -> None:
    described = message(name)
    for example in described.get("examples", []):
        jsonschema.validate(example["headers"], described["headers"], format_checker=jsonschema.FormatChecker())
        jsonschema.validate(example["payload"], described["payload"], format_checker=jsonschema.FormatChecker())


def test_a_subscriber_finds_an_example_of_both_kinds_of_event() -> None:
    assert all(message(name)["examples"] for name in ("match", "sighting"))


def test_every_mechanism_of_the_settings_has_a_security_scheme() -> None:
    schemes = {scheme["type"] for scheme in DOCUMENT["components"]["securitySchemes"].values()}
    mechanisms = get_args(KafkaSettings.model_fields["sasl_mechanism"].annotation)
    assert {name.replace("-", "").lower() for name in mechanisms} <= {name.lower() for name in schemes}


def test_the_version_is_that_of_the_package() -> None:
    assert DOCUMENT["info"]["version"] == version("framematch")
