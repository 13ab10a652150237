"""How services of AWS are reached, and what their errors mean: one line, and what to do.

Invariant: keys are found as boto3 finds them, and none is ever part of a message. Clients do not try again by
themselves: whoever calls knows what may wait, and for how long.
"""

from __future__ import annotations

import functools
from email.utils import parsedate_to_datetime
from typing import Any

from events.clock import Clock, to_millis
from events.errors import MissingExtraError, StoreError, UnreachableError

CONNECT_SECONDS = 5
READ_SECONDS = 20
SERVER_ERROR, TOO_MANY = 500, 429
_UNREACHED = "start it, or set `endpoint` and `region` of this section to where it is"
_KEYS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile by AWS_PROFILE, or give the machine a role: what "
    "boto3 finds"
)
_PASSING = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalFailureException",
        "InternalServerError",
        "InternalServiceError",
        "KMSThrottlingException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "Forbidden",
        "KMSAccessDeniedException",
        "UnauthorizedOperation",
    }
)
_STRANGE = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_OUTDATED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
    }
)
_ABSENT = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NonExistentQueue",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
_PREFIXES = {"dynamodbstreams": "dynamodb"}
_ACTIONS = {
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
}


def open_client(
    service: str, *, region: str = "", endpoint: str = "", connections: int = 10, read_seconds: float = READ_SECONDS
) -> Any:
    """Return a client of `service`; nothing is asked of it yet. It may be used by several threads.

    :arg service: Its name in boto3.
    :arg connections: How many may be used at once.
    :arg read_seconds: How long an answer may take.
    :raises MissingExtraError: When boto3 is not installed.
    :raises StoreError: When no region is known, or the settings of boto3 cannot be used.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        package, extra = "boto3", "aws"
        raise MissingExtraError(package, extra) from None
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    try:
        # A session of its own: the default one is shared, and not made for threads.
        import botocore.session

        session = botocore.session.Session()
        session.register_component("data_loader", _loader())
        return boto3.session.Session(botocore_session=session).client(
            service, region_name=region or None, endpoint_url=endpoint or None, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise explain(error, service, f"the service {service!r}", endpoint) from error


def answered_at(answer: Any, clock: Clock) -> int:
    """Return when a service has answered: by its own clock if it says, else by ours (ms since epoch)."""
    try:
        return to_millis(parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]))
    except (KeyError, ValueError):
        return clock()


@functools.cache
def _loader() -> Any:
    """Return what reads the descriptions of services: most of the work of making a client, done once."""
    import botocore.session

    return botocore.session.Session().get_component("data_loader")


def passes(error: Exception) -> bool:
    """Tell whether what went wrong may pass by itself: too many requests, a fault of the service, a cut line."""
    from botocore.exceptions import ClientError, HTTPClientError, SSLError
    from botocore.exceptions import ConnectionError as NotConnectedError

    if isinstance(error, ClientError):
        return code_of(error) in _PASSING or _status_of(error) >= SERVER_ERROR or _status_of(error) == TOO_MANY
    return isinstance(error, HTTPClientError | NotConnectedError) and not isinstance(error, SSLError)


def code_of(error: Exception) -> str:
    """Return the code by which the service names an error; empty if it did not answer."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def explain(error: Exception, service: str, what: str, endpoint: str = "") -> StoreError:
    """Return what an error of boto3 means.

    :arg service: The service's name in boto3.
    :arg what: What was asked for, such as "the Kinesis stream 'orders'".
    :arg endpoint: Its address, if the settings name one.
    """
    from botocore.exceptions import (
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
        ProfileNotFound,
    )
    from botocore.exceptions import ConnectionError as NotConnectedError

    if isinstance(error, ClientError):
        return _said(error, service, what)
    if isinstance(error, NoRegionError):
        return StoreError(f"{what}: no region is known", "set `region` of this section, or AWS_DEFAULT_REGION")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreError(f"{what}: there are no keys of AWS, or not all of them", _KEYS)
    if isinstance(error, ProfileNotFound):
        return StoreError(f"{what}: {_one_line(error)}", "correct AWS_PROFILE")
    if isinstance(error, HTTPClientError | NotConnectedError):
        where = endpoint or f"{service} of AWS"
        kind = UnreachableError if passes(error) else StoreError
        return kind(f"{what}: {where} cannot be reached: {type(error).__name__}", _UNREACHED)
    return StoreError(f"{what}: {_one_line(error)}", "correct `region` and `endpoint` of this section")


def _said(error: Any, service: str, what: str) -> StoreError:
    code, operation = code_of(error), str(error.operation_name)
    if code in _DENIED:
        action = f"{_PREFIXES.get(service, service)}:{_ACTIONS.get(operation, operation)}"
        return StoreError(f"{what}: access is denied", f"allow {action} on it to the keys or the role in use")
    if code in _STRANGE:
        return StoreError(f"{what}: AWS does not know the keys in use ({code})", _KEYS)
    if code in _OUTDATED:
        return StoreError(f"{what}: the keys in use have run out", "get new ones, and start again")
    if code in _ABSENT:
        return StoreError(f"{what} does not exist", "correct its name, `region` and account, or make it")
    if passes(error):
        return UnreachableError(f"{what}: the service refuses for now ({code} at {operation})", "try again later")
    return StoreError(f"{what}: {operation} was refused: {_one_line(error)}", "correct the settings of this section")


def _status_of(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
