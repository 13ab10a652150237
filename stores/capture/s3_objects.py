"""Objects of one bucket as they are at this moment: read within bounds, whatever anybody has said about them."""

from __future__ import annotations

from typing import Any, NamedTuple

from events.clock import to_millis
from events.errors import StoreError
from stores.aws import code_of, explain, passes

_PIECE = 2**20
_GONE = frozenset({"NoSuchKey", "404", "NotFound"})
_DENIED = frozenset({"AccessDenied", "403", "Forbidden"})
_ELSEWHERE = frozenset({"NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})
_ARCHIVED = "InvalidObjectState"
_PAGE = 1000


class State(NamedTuple):
    """What an object is told from its other versions by."""

    etag: str
    modified: int
    version: str
    media_type: str


class Found(NamedTuple):
    """An object that can be read. `content` is None if it is in the state in which it is known already."""

    state: State
    content: bytes | None


class Unfit(NamedTuple):
    """An object that is there and cannot be read, and why. The state is None if not even that was told."""

    state: State | None
    reason: str


class PassingError(Exception):
    """What failed may work soon; `error` says in one line what it was."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(str(error))
        self.error = error


class Objects:
    """The bucket.

    :arg client: A client of boto3 for S3.
    :arg limit: Bytes above which an object is not read.
    """

    def __init__(self, client: Any, bucket: str, endpoint: str, limit: int) -> None:
        self._client = client
        self._bucket = bucket
        self._endpoint = endpoint
        self._limit = limit
        self._allowed = False

    def get(self, key: str, known: State | None) -> Found | Unfit | None:
        """Return an object, None if there is none. Its content is left out if it is in the state `known`.

        :raises PassingError: When it may be had soon.
        :raises StoreError: When the bucket cannot be read.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            return self._refused(error)
        except BotoCoreError as error:
            raise self._failed(error) from error
        self._allowed = True
        body = answer["Body"]
        try:
            state = _state(answer)
            if state == known:
                return Found(state, None)
            return self._read(body, state, answer.get("ContentLength"))
        except (BotoCoreError, OSError) as error:
            raise PassingError(self._explain(error)) from error
        finally:
            body.close()

    def keys(self, prefix: str, after: str, count: int = _PAGE) -> list[str]:
        """Return the keys of a page of objects, in the order of their bytes, behind the key `after`; none at the end.

        :raises PassingError: When it may be had soon.
        :raises StoreError: When the bucket cannot be listed.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after, MaxKeys=count)
        except (BotoCoreError, ClientError) as error:
            raise self._failed(error) from error
        return [str(found["Key"]) for found in page.get("Contents", ())]

    def check(self, prefix: str) -> None:
        """See that the bucket can be listed: else an object that is gone looks like one that is forbidden.

        :raises PassingError: When it cannot be reached.
        :raises StoreError: When it cannot.
        """
        self.keys(prefix, "", 1)

    def _read(self, body: Any, state: State, length: int | None) -> Found | Unfit:
        # The storage may not tell the length, or tell a wrong one: what comes is counted as well.
        if length is not None and length > self._limit:
            return Unfit(state, f"{length} bytes, over the limit of {self._limit}")
        content = bytearray()
        while piece := body.read(_PIECE):
            content += piece
            if len(content) > self._limit:
                return Unfit(state, f"more than {self._limit} bytes, which is the limit")
        return Found(state, bytes(content))

    def _refused(self, error: Exception) -> Unfit | None:
        code = code_of(error)
        if code in _GONE:
            return None
        if passes(error) or code in _ELSEWHERE or (code in _DENIED and not self._allowed):
            raise self._failed(error) from error
        if code == _ARCHIVED:
            return Unfit(None, "it is archived; restore it, and it is read then")
        return Unfit(None, f"the storage does not give it: {' '.join(str(error).split())[:200]}")

    def _failed(self, error: Exception) -> Exception:
        told = self._explain(error)
        return PassingError(told) if passes(error) else told

    def _explain(self, error: Exception) -> StoreError:
        return explain(error, "s3", f"the bucket {self._bucket!r}", self._endpoint)


def _state(answer: dict[str, Any]) -> State:
    modified = answer.get("LastModified")
    return State(
        str(answer.get("ETag", "")),
        0 if modified is None else to_millis(modified),
        str(answer.get("VersionId") or ""),
        str(answer.get("ContentType") or ""),
    )
