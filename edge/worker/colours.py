"""Which matrix turns a frame's brightness and colour differences (YUV) into red, green and blue."""

import av

from framematch.core.errors import CameraUnavailableError
from framematch.core.settings import UntaggedColours

# Matrix coefficients by ITU-T H.273, which are FFmpeg's `AVColorSpace`.
_RGB, _BT709, _UNSPECIFIED, _BT601, _BT2020 = 0, 1, 2, 6, 9
_CONVERTED = frozenset({_BT709, 4, 5, _BT601, 7, _BT2020})
# Constant luminance differs from the usual BT.2020 only in saturated colours; players take one for the other.
_BT2020_CONSTANT = 10
_BY_PRIMARIES = 12
_YCGCO, _REVERSIBLE_YCGCO = 8, (16, 17)
_NOT_CONVERTED = {
    **dict.fromkeys((_YCGCO, *_REVERSIBLE_YCGCO), "YCgCo"),
    11: "YDzDx",
    13: "constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
}
_YUV_COMPONENTS = 3
# From this size on a picture without a matrix is HD, for which cameras and players use BT.709.
_HD_WIDTH, _HD_HEIGHT = 1280, 720


def set_matrix(frame: av.VideoFrame, untagged: UntaggedColours) -> None:
    """Give `frame` a matrix with which it can be converted. `untagged`: the one of frames that name none.

    Raises:
        CameraUnavailableError: it names one that is not supported: its colours would be wrong.
    """
    pixels = frame.format
    if pixels.is_rgb or pixels.has_palette or len(pixels.components) < _YUV_COMPONENTS:  # red, green and blue, or grey
        frame.colorspace = _UNSPECIFIED
        return
    matrix = frame.colorspace
    if matrix in _CONVERTED:
        return
    if name := _NOT_CONVERTED.get(matrix):
        raise CameraUnavailableError(
            f"its colours ({name}) are not supported", hint="Let the camera or encoder use BT.709"
        )
    if matrix == _BT2020_CONSTANT or (matrix == _BY_PRIMARIES and frame.color_primaries == _BT2020):
        frame.colorspace = _BT2020
    elif untagged == "auto":
        is_hd = frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT
        frame.colorspace = _BT709 if is_hd else _BT601
    else:
        frame.colorspace = _BT709 if untagged == "bt709" else _BT601
