"""How a long task reports its progress."""

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Takes what is done and the whole."""
