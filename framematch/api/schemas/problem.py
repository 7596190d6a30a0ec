"""The document of a problem (RFC 9457), as every route can answer it."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

from framematch.api.problems import MEDIA_TYPE

_REASONS = {
    400: "The request is not valid.",
    401: "There is no key, or it is not valid.",
    403: "The key may not do this.",
    404: "It does not exist, or the key may not see it.",
    408: "The body was not complete in time.",
    409: "It has changed meanwhile, or it exists already.",
    410: "It is not kept any more.",
    412: "It has changed since it was read.",
    413: "The body is too large.",
    415: "The body is of another type.",
    429: "Too many requests; `Retry-After` says when to come back.",
    500: "A bug; the log has the cause.",
    503: "A server is away; `Retry-After` says when to come back.",
    504: "The time for the request is over.",
}


class FieldProblemModel(BaseModel):
    """What is wrong with one part of the request."""

    pointer: str = Field(description="a JSON pointer into the body, or the name of a parameter")
    detail: str


class ProblemModel(BaseModel):
    """What went wrong, and what to do about it."""

    type: str = Field(description="`/problems/` and a short, stable code", examples=["/problems/invalid_request"])
    title: str = Field(description="the status in words", examples=["Bad Request"])
    status: int = Field(examples=[400])
    detail: str = Field(description="what is wrong", examples=["query parameter page_size: should be at most 500"])
    hint: str = Field(description="what to do about it", examples=["See /docs for what is allowed"])
    request_id: str = Field(description="is also in the log", examples=["9f1c0a5e2b7d4c53a1e8f60d2b3c4d5e"])
    errors: list[FieldProblemModel] = []


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can answer with these problems."""
    return {
        status: {
            "description": _REASONS.get(status, HTTPStatus(status).phrase),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemModel"}}},
        }
        for status in statuses
    }


def problem_schemas() -> dict[str, Any]:
    """The schemas that `problems` refers to, for the components of the document."""
    schema = ProblemModel.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "ProblemModel": schema}
