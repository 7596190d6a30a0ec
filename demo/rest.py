"""The demo's use of the REST API: the picture of a frame that the stream has matched, matched again by a request."""

from dataclasses import dataclass

import aiohttp

from framematch.core.errors import FramematchError
from framematch.core.events import MatchEvent

_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Sample:
    """A frame: what the stream has made of it, and the JPEG that it got."""

    event: MatchEvent
    picture: bytes


@dataclass(frozen=True)
class RestMatch:
    """What the API says of a picture."""

    decision: str
    product: str | None
    score: float

    def agrees(self, event: MatchEvent) -> bool:
        """Whether the stream has decided the same."""
        return (self.decision, self.product) == (event.decision, event.product.id if event.product else None)


async def match_by_rest(url: str, picture: bytes) -> RestMatch:
    """Send the picture to `POST /v1/match` of the API at `url`.

    Raises:
        FramematchError: the API does not answer, or with a problem.
    """
    form = aiohttp.FormData()
    form.add_field("image", picture, filename="frame.jpg", content_type="image/jpeg")
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.post(f"{url}/v1/match", data=form) as answer,
        ):
            found = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise FramematchError(f"the REST API at {url} does not answer: {error}") from error
    if not answer.ok:
        raise FramematchError(f"the REST API refuses a picture: {found['detail']}", hint=found["hint"])
    [result] = found["results"]
    [region] = result["regions"]
    product = region["product"]
    return RestMatch(region["decision"], product and product["id"], region["score"])
