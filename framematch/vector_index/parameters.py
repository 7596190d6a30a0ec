"""Parameters of an index come out of a database, so their names and bounds are checked."""

from collections.abc import Mapping


def checked_parameters(parameters: Mapping[str, int], bounds: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """The parameters, each within its lowest and highest value.

    Raises:
        ValueError: one is missing, unknown, or out of bounds.
    """
    if set(parameters) != set(bounds):
        raise ValueError(f"its index has the parameters {sorted(parameters)}, expected are {sorted(bounds)}")
    for name, (lowest, highest) in bounds.items():
        if not lowest <= parameters[name] <= highest:
            raise ValueError(f"its index has {name}={parameters[name]}, which is not from {lowest} to {highest}")
    return dict(parameters)
