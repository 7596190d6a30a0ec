"""Names that travel: camera ids, which become Kafka keys, metric labels and file names."""

import re

_CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def valid_camera_id(name: str) -> str:
    """`name` itself, when it can be a camera id.

    Raises:
        ValueError: it is empty, longer than 64, or has other characters than letters, digits, `.`, `_` and `-`.
    """
    if not _CAMERA_ID.fullmatch(name):
        msg = f"camera id {name!r}: use 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"
        raise ValueError(msg)
    return name
