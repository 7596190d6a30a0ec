"""Finds the route of a request from its head, before the application reads the body."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from framematch.api.access.policy import Access, access_of
from framematch.api.problems import Problem


@dataclass(frozen=True)
class FoundRoute:
    """A route, the parameters in its path, and who may use it."""

    template: str
    parameters: dict[str, str]
    access: Access


class RouteTable:
    """All routes with their access."""

    def __init__(self, routers: Sequence[APIRouter]) -> None:
        """Raises ValueError for a route that does not declare its access."""
        self._routes = [
            (route, _declared(route)) for router in routers for route in router.routes if isinstance(route, APIRoute)
        ]

    def find(self, scope: Scope) -> FoundRoute:
        """The route of a request.

        Raises:
            Problem: there is none (404), or none with this method (405).
        """
        allowed: set[str] = set()
        for route, access in self._routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                return FoundRoute(route.path, child.get("path_params", {}), access)
            if match is Match.PARTIAL:
                allowed |= route.methods or set()
        if allowed:
            methods = ", ".join(sorted(allowed))
            raise Problem(
                405, "method_not_allowed", f"{scope['method']} is not possible here", hint=f"Use {methods}",
                headers={"Allow": methods},
            )  # fmt: skip
        raise Problem(404, "not_found", "there is nothing at this path", hint="See /docs for all paths")


def _declared(route: APIRoute) -> Access:
    declared = access_of(route)
    if declared is None:
        raise ValueError(f"the route {route.path} does not say who may use it")
    return declared
