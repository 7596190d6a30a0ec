"""The third-party notices name every library under a reciprocal licence that the wheels of our packages carry."""

from pathlib import Path
from sysconfig import get_path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTICES = (ROOT / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8")
# Of each name, the part that the notices use. FFmpeg's own library stands for all of FFmpeg.
RECIPROCAL = {
    "libx264": "x264", "libx265": "x265", "libxvid": "Xvid", "libavcodec": "FFmpeg", "libmp3lame": "LAME",
    "libgnutls": "GnuTLS", "libnettle": "Nettle", "libhogweed": "Nettle", "libgmp": "GMP",
    "libunistring": "libunistring", "libgfortran": "libgfortran", "libquadmath": "libquadmath", "libgomp": "libgomp",
    "libpostproc": "libpostproc", "libvidstab": "vid.stab", "librubberband": "Rubber Band", "libasound": "ALSA",
}  # fmt: skip


@pytest.mark.parametrize("package", ["av", "opencv_python_headless", "numpy", "faiss_cpu", "pillow", "confluent_kafka"])
def test_a_library_under_a_reciprocal_licence_is_named(package: str) -> None:
    libraries = Path(get_path("purelib"), f"{package}.libs")
    assert libraries.is_dir(), "the wheel has no libraries of its own any more: take it out here and in the notices"
    found = {RECIPROCAL[name] for file in libraries.iterdir() if (name := file.name.split("-")[0]) in RECIPROCAL}
    rows = [line for line in NOTICES.splitlines() if line.startswith("|")]
    assert {name for name in found if not any(name in row for row in rows)} == set()
