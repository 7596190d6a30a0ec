"""Opens a source and reads it frame by frame until an error or its end; never tries again by itself."""

from pathlib import Path
from typing import Literal

from edge.sources import Source, image_files
from edge.worker.device import DeviceReader
from edge.worker.folder import FolderReader
from edge.worker.grabbed import Reader
from edge.worker.video import open_file, open_stream
from framematch.core.errors import CameraUnavailableError


def open_reader(
    source: Source,
    *,
    fps: float,
    open_timeout_s: float,
    read_timeout_s: float,
    rtsp_transport: Literal["tcp", "udp"] = "tcp",
    key_frames_only: bool = False,
    allowed_hosts: tuple[str, ...] = (),
) -> Reader:
    """Open `source`; a folder's images are `1 / fps` seconds apart.

    Raises:
        CameraUnavailableError: it does not open.
    """
    if source.kind == "folder":
        return FolderReader(_images(Path(source.address)), fps)
    if source.kind == "device":
        return DeviceReader(int(source.address), read_timeout_s)
    if source.kind == "file":
        return open_file(Path(source.address), key_frames_only=key_frames_only)
    return open_stream(
        source.address,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        rtsp_transport=rtsp_transport,
        key_frames_only=key_frames_only,
        allowed_hosts=allowed_hosts,
    )


def _images(folder: Path) -> list[Path]:
    try:
        return image_files(folder)
    except OSError as error:
        raise CameraUnavailableError(f"cannot be read: {error.strerror}") from None
