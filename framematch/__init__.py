"""framematch: cameras in, product matches out. `subscribe` reads the events from Python."""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["MatchEvent", "SightingEvent", "subscribe", "subscribe_sightings"]

if TYPE_CHECKING:
    from framematch.core.events import MatchEvent, SightingEvent
    from framematch.core.subscribe import subscribe, subscribe_sightings
else:
    # Imported on first use, so that commands start faster.
    _MODULES = {
        "MatchEvent": "framematch.core.events",
        "SightingEvent": "framematch.core.events",
        "subscribe": "framematch.core.subscribe",
        "subscribe_sightings": "framematch.core.subscribe",
    }

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
