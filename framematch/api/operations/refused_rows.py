"""The rows of a catalogue file that an import has left out, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from framematch.catalog.importing.problems import RowProblem
from framematch.catalog.mongo import Database, mongo_errors
from framematch.catalog.values import required_text, whole_number

_BATCH = 1_000


@dataclass(frozen=True)
class RefusedRow:
    """The row on the lines `line` to `last_line` of the file (1 is the first)."""

    number: int
    line: int
    last_line: int
    problem: str
    reason: str
    hint: str


async def write_refused_rows(database: Database, operation_id: str, problems: Sequence[RowProblem]) -> None:
    """Write the rows of one import in the place of those of an earlier attempt."""
    await delete_refused_rows(database, [operation_id])
    documents = (
        {
            "_id": f"{operation_id}/{number}",
            "operation": operation_id,
            "number": number,
            "line": problem.line,
            "last_line": problem.last_line,
            "problem": problem.kind.title,
            "reason": problem.reason.encode(errors="backslashreplace").decode(),
            "hint": problem.kind.hint,
        }
        for number, problem in enumerate(problems, 1)
    )
    with mongo_errors("writing refused rows"):
        await database.operation_rows.create_index([("operation", 1), ("number", 1)])
        while batch := list(islice(documents, _BATCH)):
            await database.operation_rows.insert_many(batch)


async def read_refused_rows(database: Database, operation_id: str, *, after: int, limit: int) -> list[RefusedRow]:
    """Up to `limit` rows behind the one with the number `after`."""
    wanted = {"operation": operation_id, "number": {"$gt": after}}
    with mongo_errors("reading refused rows"):
        documents = await database.operation_rows.find(wanted).sort("number", 1).limit(limit).to_list()
    return [
        RefusedRow(
            number=whole_number(document, "number"),
            line=whole_number(document, "line"),
            last_line=whole_number(document, "last_line"),
            problem=required_text(document, "problem"),
            reason=required_text(document, "reason"),
            hint=required_text(document, "hint"),
        )
        for document in documents
    ]


async def delete_refused_rows(database: Database, operation_ids: Sequence[str]) -> None:
    """Delete the rows of these imports."""
    with mongo_errors("deleting refused rows"):
        await database.operation_rows.delete_many({"operation": {"$in": list(operation_ids)}})
