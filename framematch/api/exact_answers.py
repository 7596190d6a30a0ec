"""Answers whose amounts are JSON numbers with exactly the catalogue's digits, which FastAPI would make texts."""

from collections.abc import Mapping

from fastapi import Response
from pydantic import BaseModel

from framematch.core import exact_json


def exact_body(answer: BaseModel) -> bytes:
    """The answer as JSON."""
    return exact_json.encode(answer.model_dump())


def exact_answer(answer: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The response with this answer."""
    return Response(exact_body(answer), status, headers, "application/json")
