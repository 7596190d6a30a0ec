"""Records of wanted cameras, for the tests of an edge that follows them."""

from typing import Any

from cryptography.fernet import Fernet
from pydantic import SecretStr

from framematch.core.camera_settings import WantedCamera, WantedSource, encode_wanted
from framematch.core.sealing import SourceSeal
from framematch.core.settings import Settings

KEY = SecretStr(Fernet.generate_key().decode())
SEAL = SourceSeal(KEY)
CANARY = "hunter2-canary"
URL = f"rtsp://user:{CANARY}@10.0.0.5/1"


def edge_settings(**edge: Any) -> Settings:
    return Settings.model_validate({"cameras_key": KEY, "edge": {"follow_hosts": ["10.0.0.0/24", "*.shop"], **edge}})


def record(
    camera: str = "till-1",
    url: str = URL,
    *,
    edge: str = "shop-1",
    generation: int = 1,
    secret: str | None = None,
    seal: SourceSeal = SEAL,
    **wanted: Any,
) -> bytes:
    source = WantedSource("shown", secret=secret) if secret else WantedSource("shown", sealed=seal.seal(camera, url))
    at = "2026-01-01T00:00:00.000000Z"
    return encode_wanted(WantedCamera("camera-settings.v1", camera, generation, at, edge, source, wanted))
