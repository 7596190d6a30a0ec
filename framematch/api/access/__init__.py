"""Who may do what: API keys, bearer tokens of an OIDC issuer, scopes, cameras, rate limits, the audit log."""
