"""Why a request is refused before a route sees it: an answer of HTTP, and what the client should do."""

from framematch.core.errors import FramematchError

REALM = "framematch"


class AccessRefusedError(FramematchError):
    """A request is refused. `code` names the problem; `retry_after_s` is when to come again.

    `status` is 400 for a request that must not be sent so, 401 without a valid key or token, 403 without the scope,
    429 above a limit, and 503 if it cannot be checked at present.
    """

    def __init__(
        self, status: int, code: str, message: str, *, hint: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def challenge(self) -> str | None:
        """The value of `WWW-Authenticate` (RFC 6750), which each 401 has."""
        if self.status != 401:  # noqa: PLR2004  # the one status with a challenge
            return None
        if self.code == "key_missing":
            return f'Bearer realm="{REALM}"'
        return f'Bearer realm="{REALM}", error="invalid_token"'


def key_missing() -> AccessRefusedError:
    """Neither a key nor a token was sent."""
    return AccessRefusedError(
        401,
        "key_missing",
        "this needs an API key or a token",
        hint="Send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
    )


def key_malformed(what: str) -> AccessRefusedError:
    """What was sent is neither a key nor a token."""
    return AccessRefusedError(
        401,
        "key_malformed",
        what,
        hint="A key is fm_ID_SECRET, as 'framematch api-key create' has shown it; a token has three parts",
    )


def key_unknown() -> AccessRefusedError:
    """No such key; or the secret is another: whoever guesses ids learns nothing."""
    return AccessRefusedError(
        401, "key_unknown", "this API key is not known", hint="Check that it is whole, or ask an administrator for one"
    )


def key_ended(code: str, what: str) -> AccessRefusedError:
    """The key is right, but no longer valid."""
    return AccessRefusedError(401, code, what, hint="Ask an administrator for a new key")


def token_refused(code: str, what: str, hint: str = "Get a new token from the issuer") -> AccessRefusedError:
    """A token that the issuer did not sign, or not for us, or not for this time."""
    return AccessRefusedError(401, code, what, hint=hint)


def cannot_check(what: str) -> AccessRefusedError:
    """MongoDB or the issuer does not answer, and the key is not among those that were checked before."""
    return AccessRefusedError(
        503, "access_unavailable", what, hint="Try again; keys that were used before go on working", retry_after_s=5
    )
