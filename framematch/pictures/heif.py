"""HEIC pictures, as phones take them; they need the extra `heif`.

libheif itself turns a picture upright by the transformations in the container, which count; what EXIF says beside them
was obeyed already, and would turn the picture twice.
"""

import io
from collections.abc import Sequence

from PIL import Image

from framematch.core.errors import PictureError

_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_OF_ANY_CODEC = frozenset({b"mif1", b"msf1"})
_MAX_BRANDS_BYTES = 256


def is_heif(data: bytes) -> bool:
    """Whether the bytes start like a HEIF container whose pictures are coded as HEVC."""
    if data[4:8] != b"ftyp":
        return False
    brands = data[8 : min(int.from_bytes(data[:4]), _MAX_BRANDS_BYTES)]
    found = {brands[at : at + 4] for at in range(0, len(brands), 4)}
    return data[8:12] in _BRANDS or (data[8:12] in _OF_ANY_CODEC and bool(found & _BRANDS))


def open_heif(data: bytes, formats: Sequence[str]) -> Image.Image:
    """Read the header alone; the picture has the kind that Pillow calls HEIF.

    Raises:
        PictureError: `unsupported_format`: the extra is not installed, or HEIF is none of `formats`.
        OSError, SyntaxError, ValueError, EOFError, RuntimeError: it is damaged.
    """
    if "HEIF" not in formats:
        raise PictureError("unsupported_format", f"is a HEIC, and only {', '.join(formats)} are accepted here")
    try:
        from pi_heif import HeifImageFile  # noqa: PLC0415  # an extra of its own
    except ImportError:
        raise PictureError(
            "unsupported_format", "is a HEIC, which needs the extra heif here: pip install 'framematch[heif]'"
        ) from None
    image: Image.Image = HeifImageFile(io.BytesIO(data))
    return image
