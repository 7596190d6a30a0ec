"""Stands in for the messages of Triton's client."""

from typing import Any


class Attributes:
    """An object with the given attributes, like a protobuf message."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)
