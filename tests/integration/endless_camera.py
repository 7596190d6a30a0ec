"""An RTSP camera that repeats the same ten seconds for as long as a test lasts."""

import itertools
from contextlib import AbstractContextManager
from functools import cache

from tests.integration.rtsp_camera import RtspCamera, Session, h264, rtsp_camera

_FPS = 25.0


@cache
def _frames() -> list[list[bytes]]:
    return h264(round(10 * _FPS))


def _play(session: Session) -> None:
    frames = _frames()
    for lap in itertools.count():
        if session.stopping.is_set():
            return
        session.play(frames, fps=_FPS, start_s=lap * len(frames) / _FPS)


def endless_camera(password: str | None = None) -> AbstractContextManager[RtspCamera]:
    """A camera on a free port of this machine for the block; the user is called `user`, if there is a password."""
    return rtsp_camera(_play, password=password)
