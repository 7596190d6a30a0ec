"""The OpenAPI document: FastAPI's own, with what every route has in common."""

from typing import Any, Final

from fastapi import FastAPI

from framematch.api.access.policy import EXTENSION, SECURITY_SCHEMES
from framematch.api.problems import MEDIA_TYPE
from framematch.api.schemas.match import body_schemas
from framematch.api.schemas.problem import problem_schemas, problems

# Relative to the address of the document, so that it also holds below a prefix of a proxy.
_SERVERS: Final = [{"url": ".", "description": "where this document comes from"}]
_EVERYWHERE: Final = (400, 500)
_WITH_A_KEY: Final = (401, 403, 429, 503)
_WITH_A_BODY: Final = (408, 413, 429)
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 0}, "example": 2}
}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        document["servers"] = _SERVERS
        problem_answers: dict[str, Any] = {}
        for operations in document["paths"].values():
            for operation in operations.values():
                _complete(operation, problem_answers)
        components = document.setdefault("components", {})
        components["securitySchemes"] = SECURITY_SCHEMES
        components["responses"] = dict(sorted(problem_answers.items()))
        schemas = components.setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's 422, which we answer as 400
            schemas.pop(name, None)
        schemas.update(problem_schemas() | body_schemas())
        app.openapi_schema = document
    return app.openapi_schema


def _complete(operation: dict[str, Any], problem_answers: dict[str, Any]) -> None:
    """Add the problems that a request can meet before it reaches its route; each kind stands once in the document."""
    responses = operation["responses"]
    responses.pop("422", None)
    statuses = list(_EVERYWHERE)
    if operation[EXTENSION]["scope"] != "public":
        statuses += _WITH_A_KEY
    if "requestBody" in operation:
        statuses += _WITH_A_BODY
    for status, answer in problems(*statuses).items():
        responses.setdefault(str(status), answer)
    for status, answer in responses.items():
        if MEDIA_TYPE in answer.get("content", {}):
            problem_answers[f"problem_{status}"] = {
                **answer,
                **({"headers": _RETRY_AFTER} if status in ("429", "503") else {}),
            }
            responses[status] = {"$ref": f"#/components/responses/problem_{status}"}
    operation["responses"] = dict(sorted(responses.items()))
