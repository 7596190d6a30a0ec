"""uvicorn's HTTP protocol, with a way for an answer to cut its connection off."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION_ABORT = "framematch.abort"
"""An extension of the ASGI scope: its function `abort` drops the connection and what was not sent.

To close it, as uvicorn does, would wait for a client that reads nothing.
"""


class AbortableProtocol(HttpToolsProtocol):
    """Adds the extension to each request."""

    def on_message_begin(self) -> None:
        """Called by the parser."""
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION_ABORT: {"abort": self.transport.abort}}
