"""Where files of runs go: a folder, or an S3 address. Both are tried by writing, reading and deleting a probe."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from claude_flow.errors import InputError, require

__all__ = ["probe"]

_EXTRA = "experiments"
_TIMEOUT_S = 5


def probe(address: str) -> dict[str, Any]:
    """Write, read and delete an object below an address, a folder or ``s3://BUCKET/...``; the milliseconds each took.

    Raises:
        InputError: one of them failed; the message has the reason and what to do.
    """
    name, content, steps = f".claude-flow-probe-{secrets.token_hex(6)}", secrets.token_bytes(16), {}
    read = b""
    begin = time.perf_counter()

    def done(step: str) -> None:
        nonlocal begin
        now = time.perf_counter()
        steps[step] = round(1000 * (now - begin), 1)
        begin = now

    if address.startswith("s3://"):
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        key = f"{prefix.rstrip('/')}/{name}".lstrip("/")
        with _explained(address, bucket):
            s3 = _s3()
            s3.put_object(Bucket=bucket, Key=key, Body=content)
            done("write")
            read = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            done("read")
            s3.delete_object(Bucket=bucket, Key=key)
            done("delete")
    else:
        path = Path(address) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            done("write")
            read = path.read_bytes()
            done("read")
            path.unlink()
            done("delete")
        except OSError as error:
            raise InputError(f"{address}: artifacts cannot be kept there: {error.strerror or error}") from None
    if read != content:
        raise InputError(f"{address}: what was read back is not what was written: it is no store for artifacts")
    return steps


def _s3() -> Any:
    boto3, config = require("boto3", _EXTRA), require("botocore.config", _EXTRA)
    timeouts = config.Config(connect_timeout=_TIMEOUT_S, read_timeout=2 * _TIMEOUT_S, retries={"max_attempts": 1})
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    # a session of its own: the default one keeps the first credentials that it saw
    return boto3.session.Session().client("s3", config=timeouts, region_name=region)


_REASONS = {
    "NoSuchBucket": "there is no such bucket: make it, or name another",
    "AccessDenied": "access is denied: the credentials lack PutObject, GetObject or DeleteObject there",
    "InvalidAccessKeyId": "the access key is unknown: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is wrong: check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session has expired: renew AWS_SESSION_TOKEN",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION",
}


@contextlib.contextmanager
def _explained(address: str, bucket: str) -> Iterator[None]:
    """The errors of an S3 store as one line with the reason and without a secret."""
    errors = require("botocore.exceptions", _EXTRA)
    try:
        yield
    except errors.NoCredentialsError:
        raise InputError(
            f"{address}: there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        ) from None
    except errors.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        raise InputError(f"{address}: {_REASONS.get(code, f'the store refused it ({code})')}") from None
    except (errors.EndpointConnectionError, errors.ConnectTimeoutError, errors.ReadTimeoutError):
        at = os.environ.get("AWS_ENDPOINT_URL") or "the store"
        raise InputError(f"{address}: {at} cannot be reached: check AWS_ENDPOINT_URL and the network") from None
    except errors.BotoCoreError as error:
        raise InputError(f"{address}: {type(error).__name__} of bucket {bucket!r}") from None
