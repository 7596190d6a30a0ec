"""Settings of the API's access that would open it to others are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from framematch.api.access.control import check_anonymous
from framematch.core.errors import SettingsError
from framematch.core.settings import ApiSettings

OIDC = {"issuer": "https://login.example/realms/shop", "audience": "framematch"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "::1", "localhost"])
def test_an_api_without_keys_listens_on_loopback(host: str) -> None:
    check_anonymous(ApiSettings(auth="none", host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "api.example", "localhost.example"])  # noqa: S104  # what is refused
def test_an_api_without_keys_is_refused_on_any_other_address(host: str) -> None:
    check_anonymous(ApiSettings(host=host))
    with pytest.raises(SettingsError, match="everybody who reaches it"):
        check_anonymous(ApiSettings(auth="none", host=host))


@pytest.mark.parametrize(
    "api",
    [
        {"oidc": {**OIDC, "issuer": "http://login.example"}},
        {"oidc": {**OIDC, "issuer": "https://user:canary@login.example"}},
        {"oidc": {**OIDC, "issuer": "https://login.example/?a=b"}},
        {"oidc": {**OIDC, "issuer": "login.example"}},
        {"oidc": {**OIDC, "audience": None}},
        {"oidc": {**OIDC, "role_scopes": {"boss": ["root"]}}},
        {"cors_origins": ["*"]},
        {"cors_origins": ["https://shop.example/"]},
        {"cors_origins": ["null"]},
        {"allowed_hosts": ["*"]},
        {"allowed_hosts": ["api.example:8080"]},
        {"trusted_proxies": ["*"]},
        {"trusted_proxies": ["10.0.0.1/8"]},
        {"auth": "off"},
    ],
)
def test_a_setting_that_is_too_open_is_refused(api: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as found:
        ApiSettings.model_validate(api)
    assert "canary" not in str(found.value)


def test_an_issuer_and_exact_lists_are_taken() -> None:
    settings = ApiSettings.model_validate(
        {
            "oidc": OIDC,
            "cors_origins": ["https://shop.example", "http://localhost:3000"],
            "allowed_hosts": ["*.shop.example", "10.0.0.5"],
            "trusted_proxies": ["10.0.0.7", "10.1.0.0/16", "::1"],
        }
    )
    assert settings.oidc.role_scopes["framematch:match"] == ("match",)
