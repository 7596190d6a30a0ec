"""What events say of the calibration: by the snapshot, by the number of products, and by what their camera sees."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from consumers.in_flight_frame import Decided, InFlightFrame, Skipped
from consumers.metrics import ConsumerMetrics
from consumers.stages.calibration import CalibrationWatch
from framematch.catalog.snapshots.calibration import Calibration
from framematch.core.frames import Frame
from framematch.matching.decision import Candidate, Decision, Thresholds
from framematch.matching.serving.served_snapshot import ServedSnapshot
from tests.unit.consumers.sample_frames import make_served, record
from tests.unit.matching.test_drift import calibration_of, normal

CALIBRATION = calibration_of(normal(0.8), normal(0.5, seed=1))
THRESHOLDS = Thresholds(0.66, 0.05)


def served(
    calibration: Calibration | None = CALIBRATION,
    *,
    snapshot: str = "one",
    delta: int = 0,
    products: int = 81,
    own: Thresholds = THRESHOLDS,
) -> ServedSnapshot:
    """A snapshot whose thresholds the settings may override by `own`."""
    matcher: Any = SimpleNamespace(thresholds=own, products=products)
    made = make_served(snapshot=snapshot, delta=delta, matcher=matcher)
    manifest: Any = made.manifest
    manifest.calibration, manifest.thresholds = calibration, THRESHOLDS
    return made


class Watched:
    """A watch, and what it counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.watch = CalibrationWatch(ConsumerMetrics(self.registry))
        self._number = 0

    def see(self, *decisions: Decision, by: ServedSnapshot, camera: str = "till-1", reused: bool = False) -> str:
        """What the events of a frame with these decisions say."""
        self._number += 1
        frame = InFlightFrame(record(self._number), camera, 0, Frame(camera, self._number, self._number))
        frame.served = by
        frame.outcome = Decided(decisions, dict.fromkeys(range(len(decisions)), "earlier") if reused else {})
        return self.watch.observe(frame)

    def see_many(self, scores: Any, *, by: ServedSnapshot, reused: bool = False, camera: str = "till-1") -> str:
        """The same for a region of each of these similarities, each of another product."""
        return [self.see(decision(score), by=by, reused=reused, camera=camera) for score in scores][-1]

    @property
    def stale(self) -> float | None:
        return self.registry.get_sample_value("framematch_consumer_calibration_stale_cameras")


def decision(score: float, reason: Any = "below_threshold") -> Decision:
    return Decision("unknown", score, None, (Candidate(f"p-{score}", score),), reason)


DRIFTED = np.linspace(0.68, 0.7, 300)
FITTING = np.random.default_rng(3).permutation(np.concatenate([normal(0.8, 300, 4), normal(0.5, 300, 5)]))


@pytest.mark.parametrize(
    ("by", "state"),
    [
        (served(None), "none"),
        (served(own=Thresholds(0.7, 0.05)), "none"),
        (served(own=Thresholds(0.66, 0.1)), "none"),
        (served(), "valid"),
        (served(products=97), "valid"),
        (served(products=98), "stale"),  # a fifth more than 81
    ],
    ids=["no calibration", "own threshold", "own margin", "calibrated", "some more products", "many more products"],
)
def test_the_state_follows_from_the_snapshot_where_the_camera_has_shown_little(by: ServedSnapshot, state: str) -> None:
    assert Watched().see(decision(0.7), by=by) == state


def test_a_camera_is_stale_alone_and_said_once_in_log_metric_and_list() -> None:
    own = Watched()
    with capture_logs() as logs:
        assert own.see_many(FITTING, by=served(), camera="till-2") == "valid"
        assert own.see_many(DRIFTED, by=served()) == "stale"
        assert own.see(decision(0.6), by=served(), camera="till-2") == "valid"
    [entry] = logs
    assert entry["event"] == "calibration_stale"
    assert (entry["reason"], entry["camera"], entry["snapshot"], entry["psi"] > 1) == ("scores", "till-1", "one", True)
    assert (own.stale, own.watch.stale_cameras) == (1, ["till-1"])


def test_another_snapshot_begins_anew_and_a_later_change_of_a_product_does_not() -> None:
    own = Watched()
    own.see_many(DRIFTED, by=served())
    assert own.see(decision(0.7), by=served(delta=1)) == "stale"
    assert own.see(decision(0.7), by=served(snapshot="two")) == "valid"
    assert own.stale == 0


def test_regions_that_were_not_compared_or_not_decided_anew_do_not_count() -> None:
    own = Watched()
    for reason in ("no_content", "quality", "empty"):
        for score in DRIFTED:
            own.see(decision(score, reason), by=served())
    assert own.see_many(DRIFTED, by=served(), reused=True) == "valid"
    assert own.see(Decision("unknown", None, None, (), "no_content"), by=served()) == "valid"


def test_growth_is_said_once_for_all_cameras_and_again_when_it_is_over() -> None:
    own = Watched()
    with capture_logs() as logs:
        for delta, products in enumerate((98, 99, 98, 90, 90)):
            own.see(decision(0.6), by=served(delta=delta, products=products))
    assert [(one["event"], one["reason"], one["products"]) for one in logs] == [
        ("calibration_stale", "products", 98),
        ("calibration_valid", "products", 90),
    ]


def test_a_frame_without_decisions_says_nothing() -> None:
    frame = InFlightFrame(record(0), "till-1", 0, Frame("till-1", 0, 0), outcome=Skipped("age"))
    frame.served = served()
    assert Watched().watch.observe(frame) == "none"
