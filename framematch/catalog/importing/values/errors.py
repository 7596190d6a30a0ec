"""What the readers of cells raise."""

_SHOWN_CHARACTERS = 40


class ValueRefused(Exception):  # noqa: N818  # it says what became of the value; callers turn it into a problem of a row
    """A cell cannot be read. `reason` is the rest of a sentence that begins with the column: "'x' is negative"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def quoted(text: str) -> str:
    """The cell in quotes, shortened if it is long."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…")
