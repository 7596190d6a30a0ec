"""Compares the pipeline's results with the truth of the feeds. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from demo.schedule import FeedSchedule, View
from framematch.catalog.snapshots.calibration import Calibration
from framematch.core.events import MatchEvent


@dataclass
class Observations:
    """What the demo's subscriber received, by frame id.

    `timecodes` has the camera and frame number read from the picture of each published frame (None when unreadable),
    `events` the first match event of each frame, and `latencies_ms` the times from arrival of a frame to its event.
    """

    timecodes: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    events: dict[str, MatchEvent] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    repeats: int = 0

    @property
    def unprocessed(self) -> set[str]:
        """Published frames with neither a match event nor a dead letter."""
        return self.timecodes.keys() - self.events.keys() - self.dead


@dataclass(frozen=True)
class Verdict:
    """The results of the demo; shares are between 0 and 1, None where there was nothing to judge.

    `frames_lost` counts captured frames that were neither published nor counted as dropped, and published frames with
    neither an event nor a dead letter. Top-1 and top-5 are over frames with a product fully in view, `wrong_product` is
    the share of those that matched with another product. `rest_agrees`: the REST API decided the picture of a matched
    frame as the stream did; None without a match. `calibration` is what the snapshot states.
    """

    seconds: float
    cameras: int
    frames_captured: int
    frames_dropped: int
    frames_published: int
    frames_matched: int
    frames_lost: int
    dead_letters: int
    repeats: int
    decisions: dict[str, int]
    frames_judged: int
    top1: float | None
    top5: float | None
    wrong_product: float | None
    empty_taken_for_product: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    gpu_utilisation_percent: float | None
    rest_agrees: bool | None
    calibration: Calibration | None = None

    @property
    def problems(self) -> list[str]:
        """Why the demo failed; empty when it did not."""
        found = []
        if self.frames_lost:
            found.append(f"{self.frames_lost} frames were lost")
        if not self.decisions.get("match"):
            found.append("there was no match")
        if self.rest_agrees is False:
            found.append("the REST API decided a frame otherwise than the stream")
        return found


def judge(
    seen: Observations,
    schedules: Sequence[FeedSchedule],
    *,
    captured: int,
    dropped: int,
    gpu_percent: Sequence[float],
    rest_agrees: bool | None = None,
) -> Verdict:
    """The verdict on `seen`, with the edge's own counts, the GPU readings, and whether the REST API agrees."""
    by_camera = {schedule.camera: schedule for schedule in schedules}
    shown, empty = _truth(seen, by_camera)
    decisions: dict[str, int] = {}
    for event in seen.events.values():
        decisions[event.decision] = decisions.get(event.decision, 0) + 1
    published = len(seen.timecodes)
    return Verdict(
        seconds=max(schedule.seconds for schedule in schedules),
        cameras=len(schedules),
        frames_captured=captured,
        frames_dropped=dropped,
        frames_published=published,
        frames_matched=len(seen.events.keys() & seen.timecodes.keys()),
        frames_lost=max(0, captured - dropped - published) + len(seen.unprocessed),
        dead_letters=len(seen.dead),
        repeats=seen.repeats,
        decisions=decisions,
        frames_judged=len(shown),
        top1=_share(product in _best(event, 1) for event, product in shown),
        top5=_share(product in _best(event, 5) for event, product in shown),
        wrong_product=_share(event.product.id != product for event, product in shown if event.product is not None),
        empty_taken_for_product=_share(event.decision == "match" for event in empty),
        latency_p50_ms=percentile(seen.latencies_ms, 50),
        latency_p99_ms=percentile(seen.latencies_ms, 99),
        gpu_utilisation_percent=_round(sum(gpu_percent) / len(gpu_percent)) if gpu_percent else None,
        rest_agrees=rest_agrees,
    )


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The percentile of `values`, or None without values."""
    if len(values) < 2:  # noqa: PLR2004  # a single value is every percentile
        return _round(values[0]) if values else None
    return _round(quantiles(values, n=100, method="inclusive")[percent - 1])


def _truth(
    seen: Observations, schedules: Mapping[int, FeedSchedule]
) -> tuple[list[tuple[MatchEvent, str]], list[MatchEvent]]:
    """Events of frames with a product fully in view, with that product; and events of empty frames."""
    shown: list[tuple[MatchEvent, str]] = []
    empty: list[MatchEvent] = []
    for frame_id, event in seen.events.items():
        code = seen.timecodes.get(frame_id)
        if code is None or code[0] not in schedules:
            continue
        schedule = schedules[code[0]]
        product = schedule.truth(code[1])
        if product is not None:
            shown.append((event, product))
        elif schedule.view(code[1]) is View.EMPTY:
            empty.append(event)
    return shown, empty


def _best(event: MatchEvent, k: int) -> set[str]:
    return {candidate.product_id for candidate in event.candidates[:k]}


def _share(outcomes: Iterable[bool]) -> float | None:
    found = list(outcomes)
    return round(sum(found) / len(found), 4) if found else None


def _round(value: float) -> float:
    return round(value, 1)
