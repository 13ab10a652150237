"""What to say when Kafka refuses or is not there: one line with what is wrong, one with what to do. Never a secret."""

from __future__ import annotations

from collections.abc import Sequence

from events.errors import HeadraceError, MissingExtraError, RejectedError, StoreError, UnreachableError

_UNKNOWN = ("was refused", "look into the log of the broker")

_REFUSALS = {
    2: ("was refused as damaged on its way", "look at the network between here and the broker"),
    3: ("was refused: there is no such topic or partition", "`headrace topics list` shows what there is"),
    5: ("was refused: the partition has no leader", "start the brokers that hold it"),
    6: ("was refused: the partition's leader has moved", "try again; if it stays so, look at the brokers"),
    7: ("took the broker too long", "look at the load of the brokers, or raise log.kafka.timeout_seconds"),
    10: (
        "was refused: a message is larger than the topic takes",
        "raise max.message.bytes of the topic, or keep large content elsewhere and log its address",
    ),
    17: ("was refused: the topic's name is not allowed", "choose another log.kafka.prefix or stream"),
    19: (
        "was refused: fewer replicas are in sync than the topic demands",
        "start the missing brokers, or lower min.insync.replicas of the topic",
    ),
    20: (
        "was written by fewer replicas than the topic demands",
        "start the missing brokers, or lower min.insync.replicas of the topic",
    ),
    29: ("is not allowed for this user on the topic", "grant it by kafka-acls: Read, Write, Describe, Create, Delete"),
    30: (
        "is not allowed for this user on the consumer group",
        "grant Read on it by kafka-acls, or empty log.kafka.group",
    ),
    31: ("is not allowed for this user on the cluster", "grant it by kafka-acls: Create, Alter, Describe"),
    32: (
        "was refused: its time is too far from the broker's",
        "raise message.timestamp.before.max.ms or message.timestamp.after.max.ms of the topic",
    ),
    33: ("was refused: the broker does not know this SASL mechanism", "set log.kafka.mechanism to one that it offers"),
    35: ("is not known to this broker", "use a newer broker, or the other client: log.kafka.client"),
    36: ("found the topic there already", "nothing is to be done"),
    37: ("was refused: the number of partitions is not possible", "it can only grow, and the broker may have a limit"),
    38: (
        "was refused: there are not so many brokers",
        "set log.kafka.replication to at most the number of brokers",
    ),
    40: ("was refused: a setting of the topic is not known or not possible", "look at what this broker offers"),
    42: ("was refused as invalid", "look into the log of the broker"),
    44: ("is against a policy of the broker", "let its administrators do it, or ask them what is allowed"),
    56: ("was refused: the disk of the broker has failed or is full", "mend it, then go on: nothing is lost"),
    76: ("was refused: the broker does not know this compression", "set log.kafka.compression to another one"),
    87: ("was refused: the broker cannot take such a record", "give records of a compacted topic a key"),
}
_DENIED = "give the right log.kafka.user, and its password in HEADRACE_LOG__KAFKA__PASSWORD"


def refused(doing: str, code: int, said: str = "") -> StoreError:
    """Return what to say when a broker has refused.

    :arg doing: What was wanted, such as `making topic 'a'`: the beginning of the sentence.
    :arg code: Error code of Kafka's protocol.
    :arg said: What the broker says itself, for codes without words here.
    """
    what, remedy = _REFUSALS.get(code, _UNKNOWN)
    cause = "" if code in _REFUSALS else f" with error {code}{f' ({said.strip()})' if said.strip() else ''}"
    return StoreError(f"{doing} {what}{cause}", remedy)


def unreachable(servers: Sequence[str], seconds: float, reason: str = "") -> StoreError:
    """Return what to say when no broker has answered for so long."""
    because = f": {reason}" if reason else ""
    detail = f"no broker of {', '.join(servers)} has answered for {seconds:g} s{because}"
    return UnreachableError(detail, "start it, or correct log.kafka.servers and log.kafka.security")


def unknown_host(server: str) -> StoreError:
    """Return what to say when a server's name leads nowhere."""
    return UnreachableError(f"there is no host of the name in {server!r}", "correct log.kafka.servers")


def denied(user: str, reason: str = "") -> StoreError:
    """Return what to say when a broker does not let this user in."""
    because = f" ({reason})" if reason else ""
    return StoreError(f"the broker does not accept the user {user!r}, or not the password{because}", _DENIED)


def silent(server: str, user: str) -> StoreError:
    """Return what to say when a broker that asks for a user takes connections and then says nothing."""
    detail = f"{server} takes connections, but does not answer: the user {user!r} or the password may be wrong"
    return StoreError(detail, f"{_DENIED}; or correct log.kafka.security")


def insecure(reason: str) -> StoreError:
    """Return what to say when TLS fails: a certificate that is not trusted, or a side that does not speak it."""
    hint = "set log.kafka.ca to the authority of the broker's certificate, and log.kafka.security to what it speaks"
    return StoreError(f"no secure connection to the broker: {reason}", hint)


def transactional(topic: str) -> StoreError:
    """Return what to say when a topic has records in transactions and the client cannot tell the aborted ones."""
    detail = f"topic {topic!r} is written in transactions, and kafka-python-ng cannot tell which were aborted"
    return StoreError(detail, "set log.kafka.client to 'confluent' (pip install 'headrace[confluent]')")


def damaged(topic: str, partition: int, offset: int, fault: str) -> StoreError:
    """Return what to say when a batch of records cannot be read."""
    detail = f"topic {topic!r}, partition {partition}: the batch at offset {offset} is damaged: {fault}"
    return StoreError(detail, "look at the disk of the broker and at the network; a replica may have it whole")


def too_large(topic: str, size: int, limit: int) -> RejectedError:
    """Return what to say when a record is larger than may be appended."""
    detail = f"the record has {size} bytes, over the {limit} that may go to topic {topic!r}"
    return RejectedError(
        detail, "keep large content elsewhere and log its address, or raise log.kafka.max_message_bytes"
    )


def no_codec(compression: str) -> HeadraceError:
    """Return what to say when the package of a compression is not installed."""
    if compression == "snappy":
        detail = "the topic holds records that were compressed by snappy, and python-snappy is not installed"
        return StoreError(detail, "pip install python-snappy, or set log.kafka.client to 'confluent'")
    return MissingExtraError({"zstd": "zstandard"}.get(compression, compression), "kafka")


def expired(stream: str, partition: int, offset: int, oldest: int) -> StoreError:
    """Return what to say when retention has taken what was to be read."""
    name = f"partition {partition} of stream {stream!r}"
    detail = f"{name} begins at offset {oldest}: what was at {offset} has been removed"
    return StoreError(detail, f"start from {oldest}, or keep records for longer")


def beyond(stream: str, partition: int, offset: int, end: int) -> StoreError:
    """Return what to say when the offset to go on from lies behind the end: it is of another topic."""
    detail = f"partition {partition} of stream {stream!r} ends at offset {end}: there is no offset {offset}"
    return StoreError(
        detail, "the topic has been made anew or has lost records since: begin anew, from its oldest offset"
    )


def shrunk(stream: str, found: int, known: int) -> StoreError:
    """Return what to say when a topic has fewer partitions than were read before."""
    detail = (
        f"stream {stream!r} has {found} partitions, but at least {known} have been read: it was made anew with fewer"
    )
    hint = f"`headrace topics create {stream} --partitions {known}`, then set log.on_expired to 'oldest' for one start"
    return StoreError(detail, hint)


def cannot_delete(topic: str) -> StoreError:
    """Return what to say when a broker does not delete records on demand."""
    detail = f"the broker does not delete old records of topic {topic!r} on demand"
    return StoreError(detail, "set retention.ms of the topic, and it does so by itself")


def compacted(topic: str) -> StoreError:
    """Return what to say when old records of a compacted topic are to be deleted."""
    detail = f"topic {topic!r} is compacted: the newest record of each key is not deleted by age"
    return StoreError(detail, "leave it so, or set cleanup.policy of the topic to compact,delete")
