"""ETags, and the conditions of a change: two clients do not overwrite what the other has just written."""

from framematch.api.problems import Problem


def strong_etag(version: object) -> str:
    """The ETag of this version of a resource."""
    return f'"{version}"'


def check_conditions(etag: str | None, if_match: str | None, if_none_match: str | None) -> None:
    """Check the headers `If-Match` and `If-None-Match` of a change; `etag` is None while the resource does not exist.

    Raises:
        Problem: a condition is not met (412).
    """
    if if_match is not None and not _among(etag, if_match):
        raise Problem(
            412, "changed_meanwhile",
            "it has changed since it was read" if etag else "it does not exist",
            hint="Read it again, and repeat the change with its new ETag",
        )  # fmt: skip
    if if_none_match is not None and _among(etag, if_none_match):
        raise Problem(
            412, "exists_already", "it exists already", hint="Leave out If-None-Match to replace it"
        )  # fmt: skip


def _among(etag: str | None, header: str) -> bool:
    if etag is None:
        return False
    names = [one.strip() for one in header.split(",")]
    return "*" in names or etag in names
