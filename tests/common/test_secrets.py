"""Passwords and tokens in addresses are neither stored nor told."""

import pytest

from g5.common.secrets import all_redacted, redacted


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("http://bob:hunter2@host:1/a", "http://host:1/a"),
        ("postgresql://bob:hun@ter/2@host/db", "postgresql://host/db"),
        ("cannot reach https://token@host (why)", "cannot reach https://host (why)"),
        ("http://h/?access_token=abc&x=1", "http://h/?access_token=***&x=1"),
        ("sqlite:////a/b@c/mlflow.db", "sqlite:////a/b@c/mlflow.db"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("me@host, a/b?c", "me@host, a/b?c"),
    ],
)
def test_addresses_lose_what_gives_access(text, kept):
    assert redacted(text) == kept
    assert all_redacted({"a": [text, 1, (text,)]}) == {"a": [kept, 1, (kept,)]}
