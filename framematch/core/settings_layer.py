"""What one source of settings says, and where it says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, Any]
Location = tuple[str | int, ...]
"""The path to a setting: keys, and indices of lists."""


@dataclass(frozen=True)
class Layer:
    """The settings of one source. `places` names where a setting stands: `edge.yaml, line 3`, or a variable."""

    tree: Tree = field(default_factory=dict)
    places: Mapping[Location, str] = field(default_factory=dict)

    def over(self, below: "Layer") -> "Layer":
        """Both layers; the values of this one count."""
        return Layer(_merge(below.tree, self.tree), {**below.places, **self.places})

    def place(self, location: Location) -> str | None:
        """Where a setting stands, or the section that contains it; None if no source says so."""
        parts = (location[:length] for length in range(len(location), 0, -1))
        return next((self.places[part] for part in parts if part in self.places), None)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any], location: Location = ()) -> Tree:
    merged = dict(below)
    for key, new in above.items():
        here = (*location, key)
        old, value = _in_full(merged.get(key), here), _in_full(new, here)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(old, value, here) if both else new
    return merged


def _in_full(value: Any, location: Location) -> Any:
    """A section that is given in short. Without this it would replace a section of another source as a whole."""
    if isinstance(value, str | bool) and location[-1] == "motion":
        return {"gate": value}
    if isinstance(value, str | int) and location[:-1] == ("edge", "cameras"):
        return {"source": value}
    return value
