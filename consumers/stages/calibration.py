"""Whether the stated rates of the served snapshot hold for what each camera sees: the field `calibration` of events."""

from dataclasses import dataclass

import structlog

from consumers.in_flight_frame import Decided, InFlightFrame
from consumers.metrics import ConsumerMetrics
from framematch.core.events import CalibrationState
from framematch.matching.drift import GROWTH_LIMIT, CameraScores, Observation, ScoreReference, reference_of
from framematch.matching.serving.served_snapshot import ServedSnapshot

log = structlog.get_logger()

_CAMERAS_MAX = 10_000  # more than any consumer has; then the one that was new first is forgotten
_NOT_COMPARED = ("no_content", "quality", "empty")


@dataclass(frozen=True)
class _Terms:
    """What holds for all cameras with one snapshot and its changes; `state` is `valid` when it depends on the camera.

    `key` is the snapshot and its newest change: the snapshot itself would be kept in memory.
    """

    key: tuple[str, int]
    state: CalibrationState
    reference: ScoreReference | None


class CalibrationWatch:
    """Belongs to an assignment: the next owner of a partition begins anew, with `valid`."""

    def __init__(self, metrics: ConsumerMetrics) -> None:
        self._metrics = metrics
        self._terms: _Terms | None = None
        self._cameras: dict[str, tuple[str, CameraScores]] = {}
        self._grown: str | None = None
        self._count()

    @property
    def stale_cameras(self) -> list[str]:
        """The cameras whose similarities are not those of the calibration, by id."""
        return sorted(camera for camera, (_snapshot, scores) in self._cameras.items() if scores.is_stale)

    def observe(self, frame: InFlightFrame) -> CalibrationState:
        """Count the regions of a decided frame; returns what its events say."""
        if frame.served is None or frame.header is None or not isinstance(frame.outcome, Decided):
            return "none"
        terms = self._terms_of(frame.served)
        if terms.reference is None:
            return terms.state
        scores = self._scores_of(frame.header.camera, frame.served.manifest.id, terms.reference)
        was_stale = scores.is_stale
        for number, decision in enumerate(frame.outcome.decisions):
            if decision.reason in _NOT_COMPARED or number in frame.outcome.reused_from:
                continue
            for best in decision.candidates[:1]:
                scores.observe(Observation(best.score, best.product_id, frame.header.arrived_at_us))
        if scores.is_stale != was_stale:
            self._report(frame.header.camera, frame.served.manifest.id, scores)
        return "stale" if scores.is_stale else terms.state

    def _terms_of(self, served: ServedSnapshot) -> _Terms:
        """As of the snapshot; computed when it changes."""
        manifest, decides_by = served.manifest, served.matcher.thresholds
        key = (manifest.id, served.delta)
        if self._terms is not None and self._terms.key == key:
            return self._terms
        reference = None
        calibration = manifest.calibration
        if calibration is None or (decides_by.match, decides_by.margin) != (
            manifest.thresholds.match,
            manifest.thresholds.margin,
        ):  # the settings may have others
            state: CalibrationState = "none"
        else:
            grown = served.matcher.products >= GROWTH_LIMIT * calibration.products
            state, reference = "stale" if grown else "valid", reference_of(calibration)
            self._report_growth(served, calibration.products, grown=grown)
        self._terms = _Terms(key, state, reference)
        return self._terms

    def _scores_of(self, camera: str, snapshot: str, reference: ScoreReference) -> CameraScores:
        known = self._cameras.get(camera)
        if known is not None and known[0] == snapshot:
            return known[1]
        scores = CameraScores(reference)
        self._cameras[camera] = (snapshot, scores)
        if len(self._cameras) > _CAMERAS_MAX:
            del self._cameras[next(iter(self._cameras))]
        self._count()
        return scores

    def _report(self, camera: str, snapshot: str, scores: CameraScores) -> None:
        psi = round(scores.psi or 0.0, 3)
        if scores.is_stale:
            log.warning("calibration_stale", reason="scores", camera=camera, snapshot=snapshot, psi=psi)
        else:
            log.info("calibration_valid", reason="scores", camera=camera, snapshot=snapshot, psi=psi)
        self._count()

    def _report_growth(self, served: ServedSnapshot, calibrated: int, *, grown: bool) -> None:
        snapshot, products = served.manifest.id, served.matcher.products
        if grown and self._grown != snapshot:
            self._grown = snapshot
            log.warning(
                "calibration_stale", reason="products", snapshot=snapshot, products=products, calibrated=calibrated
            )
        elif not grown and self._grown == snapshot:
            self._grown = None
            log.info(
                "calibration_valid", reason="products", snapshot=snapshot, products=products, calibrated=calibrated
            )

    def _count(self) -> None:
        self._metrics.stale_cameras.set(len(self.stale_cameras))
