"""framematch: cameras in, product matches out. `subscribe` gives its events to a program."""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["MatchEvent", "SightingEvent", "subscribe", "subscribe_sightings"]

if TYPE_CHECKING:
    from framematch.core.events import MatchEvent, SightingEvent
    from framematch.core.subscribe import subscribe, subscribe_sightings
else:
    # Imported when they are asked for: a command that starts needs none of them.
    _HOMES = {
        "MatchEvent": "framematch.core.events",
        "SightingEvent": "framematch.core.events",
        "subscribe": "framematch.core.subscribe",
        "subscribe_sightings": "framematch.core.subscribe",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
