"""Lets a shadow snapshot become the active one only under a condition on its report."""

from framematch.catalog.mongo import Database
from framematch.catalog.snapshot_names import SnapshotNames
from framematch.core.errors import CatalogError
from framematch.matching.shadow_condition import Condition
from framematch.matching.shadow_report import ShadowReport
from framematch.matching.shadow_store import read_report


async def require(database: Database, names: SnapshotNames, condition: Condition) -> ShadowReport:
    """The report on the shadow beside the active snapshot, if it satisfies the condition.

    The answer is about these names: whoever changes them has to check that they are still the same.

    Raises:
        CatalogError: it does not, or there are too few data, or there is no shadow.
        MongoUnavailableError: MongoDB became unavailable.
    """
    if names.shadow is None or names.active is None:
        raise CatalogError("there is no shadow", hint="Run 'framematch catalog shadow ID' first")
    report = await read_report(database, names.active, names.shadow)
    if unmet := condition.unmet(report):
        raise CatalogError(
            f"snapshot {names.shadow} does not become the active one: {'; '.join(unmet)}",
            hint="See 'framematch catalog shadow report'",
        )
    return report
