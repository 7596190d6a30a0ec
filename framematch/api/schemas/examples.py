"""Examples in the OpenAPI document that several models share."""

from typing import Any, Final

from pydantic import ConfigDict

SNAPSHOT_ID: Final = "20260131T120000Z-1a2b3c4d"
PREVIOUS_ID: Final = "20260130T120000Z-5e6f7a8b"


def example(**values: Any) -> ConfigDict:
    """The `model_config` of a model with this example."""
    return ConfigDict(json_schema_extra={"examples": [values]})
