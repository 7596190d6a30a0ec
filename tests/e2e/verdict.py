"""Compares what was sent with what was seen. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.e2e.feed import Sent
from tests.e2e.watcher import Answer, letter_id


@dataclass(frozen=True)
class Verdict:
    """What became of the frames.

    `lost`: frames without all of their match events, or without their dead letter. `strange`: answers that nobody
    expects. `repeats`: answers that came again, with an equal id. `unique_ratio`: different ids seen, of those
    expected. `disordered`: cameras whose events, repeats left out, are not in the order of frames and regions. `skips`:
    times that a camera's next event was neither the next one nor an earlier one again.
    """

    frames: int
    lost: int
    strange: int
    repeats: int
    unique_ratio: float
    disordered: tuple[str, ...]
    skips: int


def judge(sent: Sequence[Sent], answers: Sequence[Answer]) -> Verdict:
    """What became of `sent`, when these answers were seen in this order."""
    due = {answer_id for one in sent for answer_id in answers_due(one)}
    found = {answer.id for answer in answers}
    events_due, events_found = _ids_due(sent), _ids_found(answers)
    return Verdict(
        frames=len(sent),
        lost=sum(not found.issuperset(answers_due(one)) for one in sent),
        strange=len(found - due),
        repeats=len(answers) - len(found),
        unique_ratio=len(found) / len(due),
        disordered=tuple(
            camera.decode() for camera, ids in events_due.items() if list(dict.fromkeys(events_found[camera])) != ids
        ),
        skips=sum(_skips(events_found[camera], ids) for camera, ids in events_due.items()),
    )


def answers_due(sent: Sent) -> tuple[str, ...]:
    """The ids of the match events that a record becomes, or the name of its dead letter."""
    shot = sent.shot
    return (letter_id(shot.stage, shot.reason, sent.partition, sent.offset),) if shot.reason else shot.event_ids


def _ids_due(sent: Iterable[Sent]) -> dict[bytes, list[str]]:
    """The match events of each camera in their order."""
    ids: defaultdict[bytes, list[str]] = defaultdict(list)
    for one in sent:
        if one.shot.event_ids and one.shot.key:
            ids[one.shot.key] += one.shot.event_ids
    return ids


def _ids_found(answers: Iterable[Answer]) -> dict[bytes, list[str]]:
    ids: defaultdict[bytes, list[str]] = defaultdict(list)
    for answer in answers:
        if answer.event and answer.camera:
            ids[answer.camera].append(answer.id)
    return ids


def _skips(found: Sequence[str], due: Sequence[str]) -> int:
    place = {event_id: number for number, event_id in enumerate(due)}
    places = [-1, *(place[event_id] for event_id in found if event_id in place)]
    return sum(after > before + 1 for before, after in pairwise(places))
