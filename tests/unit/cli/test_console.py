"""What a command prints cannot control the terminal, whichever way it is printed."""

import io
import json

import pytest
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from framematch.cli.console import SafeConsole, new_console, print_text
from framematch.core.printable import printable, printable_json, printable_lines

EVIL = "a\x1b[31mb\x07\x9b2J\u202ec\rd\u2066\x7f"
SAFE = "a?[31mb??2J?c?d??"


@pytest.mark.parametrize(
    ("text", "shown"),
    [(EVIL, SAFE), ("Gr\u00fcn \u65e5", "Gr\u00fcn \u65e5"), ("a\nb\tc", "a?b?c"), ("", ""), ("[red]", "[red]")],
)
def test_only_printable_characters_are_left(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1b\nb\r\nc\rd") == "a?\nb\nc?d"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("value", [{"name": EVIL, "n": 1}, "\U0001f600 \u65e5 \U000e0001", ["\u009b", "\x7f", "plain"]])
def test_json_stays_the_same_json_in_printable_characters(value: object, encoding: str) -> None:
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=1), encoding)
    assert json.loads(text) == value
    assert text.isprintable()
    text.encode(encoding)


def table_of(text: str) -> Table:
    table = Table(box=None)
    table.add_column(text)
    table.add_row(text)
    return table


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("make", [str, Text, table_of, Panel, lambda text: Panel("x", title=text)])
def test_no_way_of_printing_passes_a_control_character(make: object, terminal: bool) -> None:
    assert callable(make)
    written = io.StringIO()
    console = SafeConsole(file=written, force_terminal=terminal, color_system=None, markup=False, width=100)
    console.print(make(EVIL))
    console.print("plain", style="bold")
    console.out(EVIL)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        live.update(make(EVIL), refresh=True)
    shown = written.getvalue()
    for character in ("\x07", "\x9b", "\u202e", "\u2066", "\x7f"):
        assert character not in shown
    assert "\x1b[31m" not in shown
    assert "?[31mb" in shown


def test_json_lines_keep_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    new_console().out_json(json.dumps({"name": EVIL}, ensure_ascii=False).encode())
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": EVIL}
    assert printed.rstrip("\n").isprintable()


def test_plain_text_is_printed_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_text(f"one {EVIL}\ntwo")
    assert capsys.readouterr().out.splitlines()[1] == "two"
