"""Seals the sources of wanted cameras: authenticated encryption with a key that the API and the edges share."""

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from framematch.core.errors import UsageError
from framematch.core.settings import split_keys

_content = msgspec.json.Decoder(tuple[str, str])


class SourceSeal:
    """Seals with the first key, and opens what any of the keys has sealed."""

    def __init__(self, keys: SecretStr) -> None:
        """`keys` are those of the setting `cameras_key`, which has checked them."""
        self._fernet = MultiFernet([Fernet(key) for key in split_keys(keys.get_secret_value())])

    def seal(self, camera: str, url: str) -> str:
        """Encrypt `url`. The camera is part of it, so that nobody can give the source to another camera."""
        return self._fernet.encrypt(msgspec.json.encode((camera, url))).decode()

    def open(self, camera: str, sealed: str) -> str:
        """The URL that was sealed for this camera.

        Raises:
            UsageError: it was sealed with another key or for another camera, or it is damaged.
        """
        try:
            owner, url = _content.decode(self._fernet.decrypt(sealed.encode()))
        except (InvalidToken, ValueError):
            raise UsageError(
                "its source cannot be opened: it was sealed with another key, or is damaged",
                hint="Give edge and API the same cameras_key, or set the camera's source again",
            ) from None
        if owner != camera:
            raise UsageError("its source was sealed for another camera", hint="Set the camera's source again")
        return url
