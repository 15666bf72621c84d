"""What goes wrong on S3, in words that say what to do. Nothing of a key or a signature is ever repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from snakefold.kernel.errors import StoreError

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE and ~/.aws/credentials"
_WRONG_KEYS = f"The server does not accept the keys. Correct {_KEYS}."
_EXPIRED = "The session's keys have expired. Get new ones."
_FORBIDDEN = "The keys may not do this. Give them list, read, write and delete on the prefix."
_REGION = "The bucket is in another region. Put region=… into the location."
_BUSY = "The server is overloaded or has an error. Try again later; a run resumes."

_BY_CODE = {
    "NoSuchBucket": "There is no such bucket. Create it, or correct the location.",
    "InvalidBucketName": "There is no such bucket. Correct the location.",
    "InvalidAccessKeyId": _WRONG_KEYS,
    "SignatureDoesNotMatch": _WRONG_KEYS,
    "InvalidToken": _WRONG_KEYS,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "AccessDenied": _FORBIDDEN,
    "403": f"{_FORBIDDEN} Or they are wrong: check {_KEYS}.",
    "401": _WRONG_KEYS,
    "RequestTimeTooSkewed": "This machine's clock is wrong by more than 15 minutes. Set it (`timedatectl`).",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "InsufficientStorage": "The storage is full. Free some, for example with `snakefold store gc`.",
    "QuotaExceeded": "The storage's quota is used up. Free some, for example with `snakefold store gc`.",
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "500": _BUSY,
    "503": _BUSY,
    "NotImplemented": "The server does not offer this part of S3.",
}

_UNREACHABLE = (
    "The server cannot be reached. Check endpoint_url in the location, the network, and that the server runs."
)
#: From special to general: the first that fits is said.
_BY_TYPE: list[tuple[type[Exception], str]] = [
    (exceptions.NoCredentialsError, f"There are no keys. Set {_KEYS}."),
    (exceptions.PartialCredentialsError, f"One of the two keys is missing. Set {_KEYS}."),
    (exceptions.CredentialRetrievalError, f"The keys cannot be fetched. Check {_KEYS}."),
    (exceptions.ProfileNotFound, "AWS_PROFILE names a profile that ~/.aws does not have. Correct it."),
    (exceptions.ConfigParseError, "~/.aws/config or ~/.aws/credentials cannot be read. Correct the file."),
    (exceptions.TokenRetrievalError, _EXPIRED),
    (
        exceptions.SSLError,
        "No secure connection. Check https:// and the host in endpoint_url, and certificates.",
    ),
    (exceptions.ConnectTimeoutError, _UNREACHABLE),
    (exceptions.ReadTimeoutError, "The server does not answer in time. Try again later."),
    (exceptions.HTTPClientError, _UNREACHABLE),
    (exceptions.ConnectionError, _UNREACHABLE),
    (exceptions.InvalidRegionError, "The region in the location is none. Correct it."),
]


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what boto3 raises into StoreError; `where` is the bucket, or the object, that is meant."""
    try:
        yield
    except ClientError as error:
        raise StoreError(f"{where}: {_of_answer(error)}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise StoreError(f"{where}: {_of_exception(error)}") from error


def is_absent(error: Exception) -> bool:
    """Whether the answer says that the object (not the bucket) is not there."""
    return isinstance(error, ClientError) and code_of(error) in (
        "NoSuchKey",
        "404",
        "NotFound",
        "NoSuchUpload",
    )


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed a little later: the server is away, restarting or too busy."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status in (429, 500, 502, 503, 504) or code_of(error) in ("SlowDown", "RequestTimeout")
    gone = (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)
    return isinstance(error, gone) and not isinstance(error, exceptions.SSLError)


def is_missing_feature(error: ClientError) -> bool:
    """Whether the service does not offer what was asked for."""
    return code_of(error) in ("NotImplemented", "MethodNotAllowed", "501", "405")


def code_of(error: ClientError) -> str:
    """The answer's error code; where the server sent none (HEAD), its HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _of_answer(error: ClientError) -> str:
    code = code_of(error)
    known = _BY_CODE.get(code)
    if known:
        return f"{known} ({code}, {error.operation_name})"
    message = str(error.response.get("Error", {}).get("Message", ""))
    return f"The server refused {error.operation_name}: {code} {message:.300}"


def _of_exception(error: Exception) -> str:
    for kind, text in _BY_TYPE:
        if isinstance(error, kind):
            return f"{text} ({type(error).__name__})"
    return f"{type(error).__name__}: {error!s:.300}"
