"""Carries a tokenizer in the configuration of the text tower that Triton serves, so that any client can embed texts."""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping

import msgspec

from framematch.core.errors import ModelError
from framematch.core.units import BYTES_PER_MB
from framematch.vision.manifest import TOKENIZER_PARAMETER, TOKENIZER_SETTINGS_PARAMETER, ModelManifest
from framematch.vision.tokenizer import Tokenizer, TokenizerSettings

_MAX_BYTES = 64 * BYTES_PER_MB
"""Of a tokenizer.json. The largest of public models, with 256,000 tokens, have about half."""
_HINT = "Build the model again with `framematch model build`"


def pack_tokenizer(content: bytes, settings: TokenizerSettings) -> dict[str, str]:
    """The parameters of Triton's configuration for a tokenizer.json and its settings.

    Raises:
        ModelError: `content` is too large.
    """
    if len(content) > _MAX_BYTES:
        raise ModelError(
            f"tokenizer.json has {len(content) // BYTES_PER_MB} MB, and a client takes {_MAX_BYTES // BYTES_PER_MB} MB",
            hint="Check that it is the model's tokenizer",
        )
    return {
        TOKENIZER_PARAMETER: base64.b64encode(zlib.compress(content, 9)).decode(),
        TOKENIZER_SETTINGS_PARAMETER: msgspec.json.encode(settings).decode(),
    }


def unpack_tokenizer(parameters: Mapping[str, str], manifest: ModelManifest) -> Tokenizer:
    """The tokenizer in the parameters of the text tower of `manifest`.

    Raises:
        ModelError: there is none, it is damaged or too large, or it is not the one that the model was built with.
    """
    source = f"the tokenizer of the served {manifest.name} ({manifest.digest[:12]})"
    if not {TOKENIZER_PARAMETER, TOKENIZER_SETTINGS_PARAMETER} <= set(parameters):
        raise ModelError(f"{source} is missing: an older version of framematch built the model", hint=_HINT)
    try:
        settings = msgspec.json.decode(parameters[TOKENIZER_SETTINGS_PARAMETER], type=TokenizerSettings)
        content = _decompressed(base64.b64decode(parameters[TOKENIZER_PARAMETER], validate=True))
    except (msgspec.DecodeError, binascii.Error, zlib.error, ValueError) as error:
        raise ModelError(f"{source} is damaged: {error}", hint=_HINT) from error
    if hashlib.sha256(content).hexdigest() != manifest.tokenizer_digest:
        raise ModelError(f"{source} is not the one that the model was built with", hint=_HINT)
    return Tokenizer(content, settings, source=source)


def _decompressed(data: bytes) -> bytes:
    """Inflate `data`, whose content may have `_MAX_BYTES`: a few kilobytes could become any amount of memory."""
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, _MAX_BYTES)
    if not inflater.eof:
        raise ValueError("it is larger than 64 MB" if inflater.unconsumed_tail else "it is not complete")
    return content
