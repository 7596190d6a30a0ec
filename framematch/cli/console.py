"""The consoles that commands print to."""

from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 200


def new_console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console that prints text as it is: "[cpu]" is no markup. Styled text is a `Text`.

    Without a terminal, tables are at least 200 characters wide. With `soft_wrap` lines are not wrapped at all.
    """
    console = Console(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_WITHOUT_TERMINAL)
    return console
