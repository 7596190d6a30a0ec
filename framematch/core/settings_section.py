"""What all sections of the settings have in common: which keys and values are never right."""

import re
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticUseDefault

from framematch.core.frames import valid_camera_id

PORT_MAX = 65_535

_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:/@\[\]]+)(?::(?P<port>[0-9]{1,5}))?")


def valid_addresses(value: str | None) -> str | None:
    """Check one address or several, separated by commas."""
    for address in (value or "").split(",") if value else ():
        found = _HOST_AND_PORT.fullmatch(address.strip())
        if found is None or not 0 < int(found["port"] or 1) <= PORT_MAX:
            raise ValueError("an address is host:port, with a port from 1 to 65535")
    return value


CameraId = Annotated[str, AfterValidator(valid_camera_id)]
Addresses = Annotated[str | None, AfterValidator(valid_addresses)]

_LARGEST = 1e9
"""No number needs to be larger, in any unit, and arithmetic with larger ones may overflow."""
_SMALLEST = 1e-6  # of numbers that must be above 0, which may be divisors


class Section(BaseModel):
    """Settings that belong together.

    A section without a value has its defaults, as when all its lines are comments. Where the default is "not set", an
    empty text is not set either.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _plausible_type(cls, value: Any, info: ValidationInfo) -> Any:
        field = cls.model_fields[info.field_name or ""]
        kind = field.annotation
        if value == "" and field.default is None:
            return None
        if value is None and isinstance(kind, type) and issubclass(kind, Section):
            raise PydanticUseDefault
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError("should be a number, not true or false")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _plausible_value(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, int | float) and abs(value) > _LARGEST:
            raise ValueError(f"should be at most {_LARGEST:,.0f}")
        above_0 = any(getattr(bound, "gt", None) == 0 for bound in cls.model_fields[info.field_name or ""].metadata)
        if above_0 and isinstance(value, float) and value < _SMALLEST:
            raise ValueError(f"should be at least {_SMALLEST:.6f}")
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("has a control character")
        return value
