"""Why a request is refused before a route sees it, and what the client should do."""

import math

from framematch.api.problems import Problem

REALM = "framematch"
UNAUTHORIZED = 401


def key_missing() -> Problem:
    """Neither a key nor a token was sent."""
    return Problem(
        UNAUTHORIZED,
        "key_missing",
        "this needs an API key or a token",
        hint="Send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
        headers={"WWW-Authenticate": f'Bearer realm="{REALM}"'},
    )


def unauthorized(code: str, message: str, hint: str) -> Problem:
    """A key or token was sent, and does not do."""
    headers = {"WWW-Authenticate": f'Bearer realm="{REALM}", error="invalid_token"'}
    return Problem(UNAUTHORIZED, code, message, hint=hint, headers=headers)


def key_malformed(what: str) -> Problem:
    """What was sent is neither a key nor a token."""
    hint = "A key is fm_ID_SECRET, as 'framematch api-key create' has shown it; a token has three parts"
    return unauthorized("key_malformed", what, hint)


def key_unknown() -> Problem:
    """No such key; or the secret is another: whoever guesses ids learns nothing."""
    hint = "Check that it is whole, or ask an administrator for one"
    return unauthorized("key_unknown", "this API key is not known", hint)


def key_ended(code: str, what: str) -> Problem:
    """The key is right, but no longer valid."""
    return unauthorized(code, what, "Ask an administrator for a new key")


def token_refused(code: str, what: str, hint: str = "Get a new token from the issuer") -> Problem:
    """A token that the issuer did not sign, or not for us, or not for this time."""
    return unauthorized(code, what, hint)


def cannot_check(what: str) -> Problem:
    """MongoDB or the issuer does not answer, and the key is not known."""
    hint = "Try again; keys that are known go on working"
    return Problem(503, "access_unavailable", what, hint=hint, headers={"Retry-After": "5"})


def too_many(code: str, message: str, hint: str, wait_s: float) -> Problem:
    """Above a limit; `wait_s` is the time after which it is not."""
    return Problem(429, code, message, hint=hint, headers={"Retry-After": str(max(1, math.ceil(wait_s)))})
