"""Refuses secrets in settings: they come from environment variables of their own."""

from __future__ import annotations

import re

__all__ = ["SECRET", "secret_remedy"]

#: Names of keys that hold secrets; ``token_variable`` names a variable and is none.
SECRET = re.compile(
    r"(.*_)?(token|password|passwd|secret|credentials?|access_key(_id)?|secret_(access_)?key|api_key)", re.IGNORECASE
)

S3_VARIABLES = {
    "token": "AWS_SESSION_TOKEN",
    "session_token": "AWS_SESSION_TOKEN",
    "access_key": "AWS_ACCESS_KEY_ID",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
}


def secret_remedy(key: str) -> str | None:
    """Return the text of a fault if a key would hold a secret, else None. It does not contain the value."""
    section, _, name = key.lower().rpartition(".")
    if not SECRET.fullmatch(name):
        return None
    remedy = "set an environment variable"
    if section.startswith("storage"):
        remedy = f"set the environment variable {S3_VARIABLES.get(name, 'AWS_SECRET_ACCESS_KEY')}"
    elif section == "streaming":
        remedy = "set streaming.token_variable to the name of an environment variable that holds it"
    return f"expected no secret here: remove it, and {remedy}"
