"""JSON in which a decimal is a number with exactly its digits: `12.90` stays `12.90`."""

from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def encode(value: Any) -> bytes:
    """Encode a value as UTF-8 JSON; what has no JSON type becomes a string."""
    return _ENCODER.encode(value)
