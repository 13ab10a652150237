"""Why no broker answers: found out by trying, as the clients do not tell."""

from __future__ import annotations

import socket
import ssl

from events.errors import StoreError
from stores.log.kafka import explain
from stores.log_settings import KafkaSettings

_TRY_SECONDS = 3.0


def why_unreachable(settings: KafkaSettings, seconds: float | None = None) -> StoreError:
    """Return what to say when no broker has answered: the first reason found at one of the servers.

    :arg seconds: How long it was waited for; default: `timeout_seconds` of the settings.
    """
    unknown = 0
    reason = silent = ""
    for server in settings.servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _TRY_SECONDS) as plain:
                if not settings.security.endswith("ssl"):
                    silent = silent or server
                    continue
                with tls(settings).wrap_socket(plain, server_hostname=host.strip("[]")):
                    silent = silent or server
        except socket.gaierror:
            unknown += 1
        except ssl.SSLError as error:
            return explain.insecure(f"{server}: {error.reason or error}")
        except TimeoutError:
            reason = f"{server} does not take connections"
        except OSError as error:
            reason = f"{server}: {error.strerror or error}"
    if settings.servers and unknown == len(settings.servers):
        return explain.unknown_host(settings.servers[0])
    if silent and settings.security.startswith("sasl"):
        return explain.silent(silent, settings.user)
    if silent:
        reason = f"{silent} takes connections, but does not answer as it should"
    return explain.unreachable(settings.servers, settings.timeout_seconds if seconds is None else seconds, reason)


def tls(settings: KafkaSettings) -> ssl.SSLContext:
    """Return how brokers are checked and this client shows itself.

    :raises StoreError: When a file of it cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
        if settings.certificate is not None and settings.key is not None:
            context.load_cert_chain(str(settings.certificate), str(settings.key))
    except OSError as error:
        detail = f"a file for secure connections to Kafka cannot be read: {error.strerror or error}"
        raise StoreError(detail, "correct log.kafka.ca, log.kafka.certificate and log.kafka.key") from error
    return context
