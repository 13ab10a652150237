"""Names of files as Amazon Data Firehose gives them (Developer Guide, "Configure Amazon S3 object name format")."""

from __future__ import annotations

from datetime import datetime, timezone

from stores.delivery_settings import FilesDeliverySettings

_HOUR = 3_600_000
_LATEST = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def hour_of(event_time: int) -> int:
    """Return the number of the hour of event time (UTC) in which a record is filed."""
    return min(max(0, event_time), _LATEST) // _HOUR


def object_name(settings: FilesDeliverySettings, stream: str, event_time: int, digest: str) -> str:
    """Return the name of a file whose first record is of `event_time` (ms since epoch).

    `{stream}` in the prefix is replaced by the name of the stream: a file has records of one only.
    """
    moment = datetime.fromtimestamp(min(max(0, event_time), _LATEST) / 1000, tz=timezone.utc)
    prefix = settings.prefix.replace("{stream}", stream)
    # Not strftime: it does not pad years everywhere.
    folder = f"{moment.year:04d}/{moment.month:02d}/{moment.day:02d}/{moment.hour:02d}"
    second = f"{moment.minute:02d}-{moment.second:02d}"
    ending = ".gz" if settings.compression == "gzip" else ""
    return f"{prefix}{folder}/{settings.name}-1-{folder.replace('/', '-')}-{second}-{digest}{ending}"
