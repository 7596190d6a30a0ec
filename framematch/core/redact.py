"""Takes secrets out of anything that leaves the process: credentials in URLs, and values under telling names.

What is unclear is hidden: a host that stands before an "@" in a path goes with the credentials.
"""

import re
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

# Starts where a word does, so that long words cost no more than their length; a digit before it hides nothing.
_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]*"
# Greedy up to the last "@": a password may itself hold "@", ":", "/" or a quote. White space ends a URL
# (`edge.sources` refuses it inside of one), and so does the next one of a list.
_NEXT_URL = r"[,;|]\"?'?(?:https?|kafka|mongodb(?:\+srv)?|rtmps?|rtsps?|tcp|udp)://"
_URL_CREDENTIALS = re.compile(
    rf"(?P<scheme>{_SCHEME}(?:://|%3A%2F%2F))(?:(?!{_NEXT_URL})\S)*(?P<at>@|%40)", re.IGNORECASE
)
# The same where somebody forgot the scheme; "@FILE" has nothing before it.
_BARE_CREDENTIALS = re.compile(r"(?<![^\s=:/\"'(])[^\s=:/\"'(]+:(?!//)\S*@")
# Names as cameras have them: pwd, pass, loginpas, usr_password, access_token … Some take them in the path:
# /user=admin_password=secret_channel=1.
_TELLING = "pas|pwd|token|secret|key|signature|credential|session"
_PARAMETER = rf"(?P<name>(?<=[?&/;=#])(?:[\w.-]*(?:{_TELLING})[\w.-]*|auth|pw|sid|sig)=)"
_SECRET_PARAMETER = re.compile(_PARAMETER + r"(?P<value>[^&\s]+)", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"passphrase|password|passwd|secret|token|credential|authorization|cookie|api_?key|private_?key", re.IGNORECASE
)
# A whole command-line argument is one URL at most, so that white space ends nothing.
_ARGUMENT_CREDENTIALS = re.compile(rf"(?P<scheme>{_SCHEME}://).*@", re.DOTALL)
_ARGUMENT_PARAMETER = re.compile(_PARAMETER + r"(?P<value>[^&]+)", re.IGNORECASE)


def redact_url(text: str) -> str:
    """`text` without the credentials of any URL in it: `rtsp://user:pass@host/1` becomes `rtsp://***@host/1`."""
    if "=" in text:
        text = _SECRET_PARAMETER.sub(_without_value, text)
    if "@" in text or "%40" in text:
        text = _URL_CREDENTIALS.sub(rf"\g<scheme>{HIDDEN}\g<at>", text)
        text = _BARE_CREDENTIALS.sub(f"{HIDDEN}@", text)
    return text


def redact_argument(text: str) -> str:
    """The same for one argument of a command line or one value: it may hold white space, and no more than one URL."""
    text = _ARGUMENT_PARAMETER.sub(_without_value, text)
    text = _ARGUMENT_CREDENTIALS.sub(rf"\g<scheme>{HIDDEN}@", text)
    return redact_url(text)


def _without_value(found: re.Match[str]) -> str:
    # An "@" in it may as well end a password that looks like a parameter: what is before has to go with it.
    return f"{found['name']}{HIDDEN}{'@' if '@' in found['value'] else ''}"


def redact(value: Any, name: str = "") -> Any:
    """A copy of `value` that is safe to log: URLs without credentials, `***` for what has a secret's name.

    What is neither plain nor a container becomes its text.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact_url(key) if isinstance(key, str) else key: redact(v, str(key)) for key, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, name) for item in value]
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return HIDDEN if text and _SECRET_NAME.search(name) else redact_url(text)


def redact_uncaught() -> None:
    """From now on, tracebacks of errors that nobody caught hold no credentials either, in any thread."""

    def show(error: BaseException | None) -> None:
        if error is not None:
            sys.stderr.write(redact_url("".join(traceback.format_exception(error))))

    sys.excepthook = lambda _kind, error, _trace: show(error)
    threading.excepthook = lambda arguments: show(arguments.exc_value)
    sys.unraisablehook = lambda unraisable: show(unraisable.exc_value)
