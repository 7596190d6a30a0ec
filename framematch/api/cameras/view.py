"""Joins the wanted cameras with what edges report about them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from framematch.core.camera_settings import WantedCamera, decode_wanted
from framematch.core.events import CameraState, CameraStatus, RefusedSettings, decode
from framematch.core.timestamps import from_rfc3339
from framematch.core.units import US_PER_S

Shown = Literal["online", "degraded", "offline", "stale", "pending"]
Managed = Literal["topic", "file"]

_STALE_INTERVALS = 3
_DEFAULT_INTERVAL_S = 10.0
_PENDING = "its edge has not reported it yet"
_DAMAGED = RefusedSettings(None, "its record in the topic of wanted cameras is damaged", "Put the camera again")


@dataclass(frozen=True)
class CameraView:
    """One camera: as it is wanted, as its edge reports it, or both."""

    camera: str
    wanted: WantedCamera | None = None
    status: CameraStatus | None = None
    damaged: bool = False

    @property
    def managed(self) -> Managed:
        """Who decides about its settings: the topic, or the own file of an edge."""
        return "topic" if self.wanted is not None or self.damaged else "file"

    @property
    def edge(self) -> str | None:
        """The edge that should run it, else that reports it; None of an older edge."""
        if self.wanted is not None:
            return self.wanted.edge
        return self.status.edge if self.status else None

    @property
    def observed_generation(self) -> int | None:
        """The newest generation that its edge knows, whether it is in force or refused."""
        if self.status is None:
            return None
        refused = self.status.refused.generation if self.status.refused else None
        return max((one for one in (self.status.generation, refused) if one is not None), default=None)

    @property
    def refused(self) -> RefusedSettings | None:
        """Why the wanted settings are not in force, as far as the reason is about the newest ones."""
        if self.damaged:
            return _DAMAGED
        found = self.status.refused if self.status else None
        if found is None or self.wanted is None or found.generation not in (None, self.wanted.generation):
            return None
        return found

    def state(self, now_us: int) -> tuple[Shown, str | None]:
        """The state at this time, and the reason for it."""
        status = self.status
        if status is None or (self.wanted is not None and status.edge not in (None, self.wanted.edge)):
            return "pending", _PENDING  # the status is of the edge that ran it before
        silent_s = (now_us - from_rfc3339(status.at)) / US_PER_S
        if silent_s > _STALE_INTERVALS * (status.interval_s or _DEFAULT_INTERVAL_S):
            return "stale", f"its edge is silent for {silent_s:.0f} s; the camera was {_in_words(status)}"
        return status.state, status.reason


def _in_words(status: CameraStatus) -> str:
    state: CameraState = status.state
    return f"{state}: {status.reason}" if status.reason else state


def join(wanted: Mapping[str, bytes], statuses: Mapping[str, bytes]) -> dict[str, CameraView]:
    """All cameras of both topics by id, in order. A status that cannot be read is none."""
    found: dict[str, CameraView] = {}
    for camera in sorted(wanted.keys() | statuses.keys()):
        status = _status(statuses.get(camera))
        if (value := wanted.get(camera)) is None:
            if status is not None:
                found[camera] = CameraView(camera, None, status)
            continue
        try:
            found[camera] = CameraView(camera, decode_wanted(camera, value), status)
        except msgspec.DecodeError:
            found[camera] = CameraView(camera, None, status, damaged=True)
    return found


def edges_of(cameras: Iterable[CameraView]) -> frozenset[str]:
    """The edges that have reported a camera."""
    return frozenset(one.status.edge for one in cameras if one.status is not None and one.status.edge is not None)


def _status(value: bytes | None) -> CameraStatus | None:
    try:
        return decode(value, CameraStatus) if value is not None else None
    except msgspec.DecodeError:
        return None
