"""The configuration of the topics."""

import pytest

from framematch.core.kafka.topics import Topics, differing_partitions, topic_specs
from framematch.core.settings import KafkaSettings


def test_frames_matches_and_sightings_have_the_same_number_of_partitions() -> None:
    specs = {spec.name: spec for spec in topic_specs(KafkaSettings(partitions=7, topic_prefix="shop"), brokers=1)}
    assert {specs[f"shop.{name}"].num_partitions for name in ("frames", "matches", "sightings")} == {7}


def test_sightings_have_the_retention_of_matches() -> None:
    configs = {
        spec.name: spec.topic_configs for spec in topic_specs(KafkaSettings(matches_retention_hours=1), brokers=1)
    }
    assert configs["framematch.sightings"] == configs["framematch.matches"] == {"retention.ms": "3600000"}


def test_status_is_compacted_and_frames_expire() -> None:
    specs = {spec.name: spec for spec in topic_specs(KafkaSettings(frames_retention_minutes=30), brokers=1)}
    assert specs["framematch.status"].topic_configs == {"cleanup.policy": "compact"}
    assert specs["framematch.frames"].topic_configs["retention.ms"] == "1800000"


def test_the_dead_letter_topic_accepts_the_largest_frame_with_its_failure_headers() -> None:
    configs = {spec.name: spec.topic_configs for spec in topic_specs(KafkaSettings(), brokers=1)}
    largest_frame = int(configs["framematch.frames"]["max.message.bytes"])
    assert largest_frame < int(configs["framematch.deadletter"]["max.message.bytes"])


def test_every_topic_has_a_specification() -> None:
    assert {spec.name for spec in topic_specs(KafkaSettings(), brokers=1)} == set(Topics("framematch").all)


def test_topics_are_replicated_as_far_as_the_cluster_allows() -> None:
    assert topic_specs(KafkaSettings(), brokers=1)[0].replication_factor == 1
    assert topic_specs(KafkaSettings(), brokers=5)[0].replication_factor == 3
    assert topic_specs(KafkaSettings(replication_factor=2), brokers=5)[0].replication_factor == 2


@pytest.mark.parametrize(
    ("frames", "matches", "sightings", "text"),
    [
        (12, 12, 12, ""),
        (24, 12, 12, "shop.frames has 24, shop.matches has 12, shop.sightings has 12"),
        (12, 12, 1, "shop.frames has 12, shop.matches has 12, shop.sightings has 1"),
        (12, 12, None, ""),
        (12, None, 3, "shop.frames has 12, shop.sightings has 3"),
    ],
)
def test_different_numbers_of_partitions_are_named(
    frames: int | None, matches: int | None, sightings: int | None, text: str
) -> None:
    counts = {"shop.frames": frames, "shop.matches": matches, "shop.sightings": sightings, "shop.deadletter": 1}
    found = {name: count for name, count in counts.items() if count is not None}
    assert differing_partitions(Topics("shop"), found) == text
