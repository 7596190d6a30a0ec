"""Sets up OpenCV's libraries for this process: transport, allowed protocols, threads, and silence."""

import math
import os

import cv2

# Without "file": a playlist or a redirect from the network cannot make us read local files. Our own files are handed
# over as open streams, so they need no protocol.
_PROTOCOLS = "crypto,hls,http,httpproxy,https,rtmp,rtmps,rtmpt,rtp,srtp,tcp,tls,udp"


def configure_opencv(*, rtsp_transport: str, read_timeout_s: float) -> None:
    """Call once, before the first source is opened and before threads start: OpenCV reads the process's environment.

    What the operator has put into OPENCV_FFMPEG_CAPTURE_OPTIONS comes last, and so wins. The libraries are made silent,
    because their messages may hold URLs with credentials; OPENCV_FFMPEG_LOGLEVEL and OPENCV_LOG_LEVEL bring them back.
    """
    options = [f"rtsp_transport;{rtsp_transport}", f"protocol_whitelist;{_PROTOCOLS}"]
    if given := os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS"):
        options.append(given)
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(options)
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(math.ceil(read_timeout_s)))
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # Cameras share the cores; a pool of threads inside one resize or conversion only costs hand-overs.
    cv2.setNumThreads(1)
