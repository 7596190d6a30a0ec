"""Compares the records that were sent with the outputs that a subscriber received. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.e2e.load_generator import SentRecord
from tests.e2e.subscriber import Output, dead_letter_id


@dataclass(frozen=True)
class DeliveryResult:
    """How completely and in which order the frames were processed.

    `lost`: frames without all of their match events, or without their dead letter. `unexpected`: outputs that belong to
    no record sent. `repeats`: outputs received again with the same id. `unique_ratio`: distinct ids received, as a
    share of the expected ids. `disordered`: cameras whose events, without repeats, are not in the order of frames and
    regions. `skips`: times that a camera's next event was neither the next expected one nor a repeat.
    """

    frames: int
    lost: int
    unexpected: int
    repeats: int
    unique_ratio: float
    disordered: tuple[str, ...]
    skips: int


def compare(sent: Sequence[SentRecord], outputs: Sequence[Output]) -> DeliveryResult:
    """Compare the records of `sent` with `outputs`, which are in the order of their receipt."""
    expected = {output_id for record in sent for output_id in expected_ids(record)}
    received = {output.id for output in outputs}
    events_expected, events_received = _expected_by_camera(sent), _received_by_camera(outputs)
    return DeliveryResult(
        frames=len(sent),
        lost=sum(not received.issuperset(expected_ids(record)) for record in sent),
        unexpected=len(received - expected),
        repeats=len(outputs) - len(received),
        unique_ratio=len(received) / len(expected),
        disordered=tuple(
            camera.decode()
            for camera, ids in events_expected.items()
            if list(dict.fromkeys(events_received[camera])) != ids
        ),
        skips=sum(_skips(events_received[camera], ids) for camera, ids in events_expected.items()),
    )


def expected_ids(sent: SentRecord) -> tuple[str, ...]:
    """The ids of the match events, or of the dead letter, that a record must produce."""
    record = sent.record
    if record.reason:
        return (dead_letter_id(record.stage, record.reason, sent.partition, sent.offset),)
    return record.event_ids


def _expected_by_camera(sent: Iterable[SentRecord]) -> dict[bytes, list[str]]:
    """The ids of each camera's match events, in their order."""
    ids: defaultdict[bytes, list[str]] = defaultdict(list)
    for record in (one.record for one in sent):
        if record.event_ids and record.key:
            ids[record.key] += record.event_ids
    return ids


def _received_by_camera(outputs: Iterable[Output]) -> dict[bytes, list[str]]:
    ids: defaultdict[bytes, list[str]] = defaultdict(list)
    for output in outputs:
        if output.event and output.camera:
            ids[output.camera].append(output.id)
    return ids


def _skips(received: Sequence[str], expected: Sequence[str]) -> int:
    index = {event_id: number for number, event_id in enumerate(expected)}
    indexes = [-1, *(index[event_id] for event_id in received if event_id in index)]
    return sum(after > before + 1 for before, after in pairwise(indexes))
