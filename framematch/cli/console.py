"""Where commands print: text from outside cannot control the terminal, whatever it contains."""

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from framematch.core.printable import printable, printable_json, printable_lines

_WIDTH_WITHOUT_TERMINAL = 200


class SafeConsole(Console):
    """A console that replaces what a terminal would obey; only Rich's own controls reach it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as Rich does, in printable characters."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                text = "\n".join(map(printable, segment.text.split("\n")))
                yield Segment(text, segment.style)

    def out_json(self, value: bytes | str) -> None:
        """Print JSON in one line, as it is read."""
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        self.out(printable_json(text, self.encoding))


def new_console(*, stderr: bool = False, soft_wrap: bool = False) -> SafeConsole:
    """A console that prints text as it is: "[cpu]" is no markup. Styled text is a `Text`.

    Without a terminal, tables are at least 200 characters wide. With `soft_wrap` lines are not wrapped at all.
    """
    console = SafeConsole(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_WITHOUT_TERMINAL)
    return console


def print_text(text: str) -> None:
    """Print lines of plain text to stdout."""
    sys.stdout.write(printable_lines(text) + "\n")


def warn(text: str) -> None:
    """Print a warning to stderr."""
    sys.stderr.write(printable_lines(f"Warning: {text}") + "\n")
