"""Redacts secrets in everything that leaves the process: credentials in URLs, API keys, values with telling names.

In doubt it redacts too much: a host before an "@" in a path goes with the credentials.
"""

import faulthandler
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from framematch.core.printable import printable_lines

HIDDEN = "***"

# Starts at the start of a word, so that a long word takes linear time; a digit before it does not hide the match.
_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]*"
# Greedy up to the last "@": a password may itself contain "@", ":", "/" or a quote. White space ends a URL
# (`edge.sources` refuses URLs that contain it), and so does the next URL of a list.
_NEXT_URL = r"[,;|]\"?'?(?:https?|kafka|mongodb(?:\+srv)?|rtmps?|rtsps?|tcp|udp)://"
_URL_CREDENTIALS = re.compile(
    rf"(?P<scheme>{_SCHEME}(?:://|%3A%2F%2F))(?:(?!{_NEXT_URL})\S)*(?P<at>@|%40)", re.IGNORECASE
)
# The same without a scheme; "@FILE" has nothing before it.
_BARE_CREDENTIALS = re.compile(r"(?<![^\s=:/\"'(])[^\s=:/\"'(]+:(?!//)\S*@")
# Cameras use pwd, pass, loginpas, usr_password, access_token …, some of them in the path: /user=a_password=b_channel=1.
_TELLING = "pas|pwd|token|secret|key|signature|credential|session"
_PARAMETER = rf"(?P<name>(?<=[?&/;=#])(?:[\w.-]*(?:{_TELLING})[\w.-]*|auth|pw|sid|sig)=)"
_SECRET_PARAMETER = re.compile(_PARAMETER + r"(?P<value>[^&\s]+)", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"passphrase|password|passwd|secret|token|credential|authorization|cookie|api_?key|private_?key|repository_?key",
    re.IGNORECASE,
)
_HARMLESS = (bool, int, float, type(None))
# Keys of our API, whose id is no secret, and JSON web tokens, wherever they stand.
_API_KEY = re.compile(r"fm_(?P<id>[0-9A-Za-z]{4,})_[0-9A-Za-z]{8,}")
_WEB_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?")
# Surrogates: Python's stand-ins for bytes that are not UTF-8, and halves of characters.
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTES = range(0xDC80, 0xDD00)
# A command-line argument is at most one URL, which white space does not end.
_ARGUMENT_CREDENTIALS = re.compile(rf"(?P<scheme>{_SCHEME}://).*@", re.DOTALL)
_ARGUMENT_PARAMETER = re.compile(_PARAMETER + r"(?P<value>[^&]+)", re.IGNORECASE)


def redact_url(text: str) -> str:
    r"""Redact the credentials of all URLs in `text`: `rtsp://user:pass@host/1` becomes `rtsp://***@host/1`.

    Bytes of file names and arguments that are not UTF-8 become `\xff`: as Python has them, no encoder takes them.
    """
    if not text.isascii():
        text = _NOT_UTF8.sub(_as_escape, text)
    if "fm_" in text:
        text = _API_KEY.sub(rf"fm_\g<id>_{HIDDEN}", text)
    if "eyJ" in text:
        text = _WEB_TOKEN.sub(HIDDEN, text)
    if "=" in text:
        text = _SECRET_PARAMETER.sub(_without_value, text)
    if "@" in text or "%40" in text:
        text = _URL_CREDENTIALS.sub(rf"\g<scheme>{HIDDEN}\g<at>", text)
        text = _BARE_CREDENTIALS.sub(f"{HIDDEN}@", text)
    return text


def redact_argument(text: str) -> str:
    """Redact one command-line argument or value: it contains at most one URL, and perhaps white space."""
    text = _ARGUMENT_PARAMETER.sub(_without_value, text)
    text = _ARGUMENT_CREDENTIALS.sub(rf"\g<scheme>{HIDDEN}@", text)
    return redact_url(text)


def _as_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if code in _ESCAPED_BYTES else f"\\u{code:04x}"


def _without_value(found: re.Match[str]) -> str:
    # An "@" in it may end a password that looks like a parameter: `redact_url` then hides what is before it.
    return f"{found['name']}{HIDDEN}{'@' if '@' in found['value'] else ''}"


def redact(value: Any, name: str = "") -> Any:
    """A copy of `value` that is safe to log: URLs without credentials, and `***` for a value with a secret's name.

    A value that is neither a number, a text nor a container becomes its text.
    """
    if isinstance(value, str):  # first, as most values are texts
        return HIDDEN if value and _is_secret(name) else redact_url(value)
    if isinstance(value, _HARMLESS):
        return value
    if isinstance(value, Mapping):
        return {redact_url(key) if isinstance(key, str) else key: redact(v, str(key)) for key, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, name) for item in value]
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return HIDDEN if text and _is_secret(name) else redact_url(text)


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def redact_uncaught() -> None:
    """Redact the tracebacks of uncaught errors from now on, in all threads of this process."""

    def show(error: BaseException | None) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):  # Ctrl-C needs no traceback
            text = redact_url("".join(traceback.format_exception(error)))
            sys.stderr.write(printable_lines(text) + "\n")

    sys.excepthook = lambda _kind, error, _trace: show(error)
    threading.excepthook = lambda arguments: show(arguments.exc_value)
    sys.unraisablehook = lambda unraisable: show(unraisable.exc_value)


def run_redacted(target: Callable[..., object], *arguments: Any) -> None:
    """Run the target of a child process with redacted tracebacks: `multiprocessing` prints them without our hook.

    A crash says where, too: Python's own report has names of files and functions alone.
    """
    redact_uncaught()
    faulthandler.enable()
    try:
        target(*arguments)
    except Exception:  # noqa: BLE001  # the last caller of the process: the hook prints it
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
