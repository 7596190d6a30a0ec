"""Whoever reaches the API may do everything: for one machine alone, and only if the settings say so."""

from starlette.datastructures import Headers

from framematch.api.access.principal import ALL_CAMERAS, SCOPES, Principal


class AnonymousAuthenticator:
    """Takes every request as one of the same principal."""

    async def authenticate(self, _headers: Headers, _client: str) -> Principal:
        """The principal that may do everything."""
        return Principal("anonymous", "anonymous", frozenset(SCOPES), ALL_CAMERAS)
