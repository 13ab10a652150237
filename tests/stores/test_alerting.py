"""Alerts reach the console, the log and the webhook: once where they can be told apart, at least once in any case."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import msgspec
import pytest
from pydantic import SecretStr

from events.alerts import Alert, Severity
from events.clock import system_clock
from stores.alerting.choose import AlertSinks, open_alert_sinks
from stores.alerting.console import Console, line_of
from stores.alerting.courier import LONGEST_MILLIS, Courier, back_off
from stores.alerting.outbox import KEEP_MILLIS, Outbox, Standing
from stores.alerting.signature import sign, verify
from stores.alerting.webhook import DeliveryError, Webhook
from stores.log.files import FileLog
from stores.settings import load
from tests.servers.hook import STALL, Hook

KEY = b"a key that both know"


def alert(id_: str = "bad/1/1000", severity: Severity = "critical", text: str = "answers turned bad") -> Alert:
    return Alert(id_, "anomaly", '["bad_share","1m"]', text, 1000, severity, group={"topic": "baggage"})


def over(raised: Alert) -> Alert:
    return msgspec.structs.replace(raised, state="over", event_time=2000)


class Ticking:
    """A clock that stands until it is set."""

    def __init__(self, now: int = 1_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def courier(path: Path, url: str, *, attempts: int = 5, least: Severity = "info", timeout: float = 10.0) -> Courier:
    """Return one that tries again within milliseconds."""
    webhook = Webhook(url, KEY, timeout, system_clock)
    return Courier(
        Outbox(path, system_clock), webhook, system_clock, lambda: 0.0, attempts=attempts, least=least, first=5
    )


def standing(path: Path) -> list[Standing]:
    outbox = Outbox(path, system_clock)
    found = outbox.list()
    outbox.close()
    return found


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_sent_is_the_alert_as_json_with_a_signature_that_the_receiver_can_compute(tmp_path: Path) -> None:
    with Hook() as hook:
        sender = courier(tmp_path / "outbox", hook.url)
        sender.send(alert())
        (request,) = hook.wait_for(1)
        sender.close()
    assert msgspec.json.decode(request.body, type=Alert) == alert()
    stamp, signature = request.headers["Headrace-Timestamp"], request.headers["Headrace-Signature"]
    assert signature == "v1=" + hmac.digest(KEY, stamp.encode() + b"." + request.body, hashlib.sha256).hex()
    assert verify(KEY, stamp, signature, request.body, now=system_clock() // 1000)
    assert request.headers["Idempotency-Key"] == "bad/1/1000:raised"
    assert request.headers["Content-Type"] == "application/json"


def test_a_signature_is_wrong_for_another_body_key_time_or_age() -> None:
    signature = sign(KEY, 1_000, b"{}")
    assert verify(KEY, "1000", signature, b"{}", now=1_300)
    assert not verify(KEY, "1000", signature, b"{}", now=1_301)
    assert not verify(KEY, "1000", signature, b"{}", now=600)
    assert not verify(KEY, "1000", signature, b"{ }", now=1_000)
    assert not verify(KEY, "1001", signature, b"{}", now=1_000)
    assert not verify(b"another", "1000", signature, b"{}", now=1_000)


@pytest.mark.parametrize("stamp", ["", "x", "-1", "1e3", "²", "9" * 100])
def test_a_timestamp_that_is_none_is_refused_and_not_a_crash(stamp: str) -> None:
    assert not verify(KEY, stamp, sign(KEY, 1, b""), b"", now=1)


@pytest.mark.parametrize("signature", ["", "v1=", "ü" * 67])
def test_a_signature_that_is_none_is_refused_and_not_a_crash(signature: str) -> None:
    assert not verify(KEY, "1", signature, b"", now=1)


def test_a_receiver_that_fails_first_gets_the_same_message_again(tmp_path: Path) -> None:
    with Hook([500, 503, 302, 200]) as hook:
        sender = courier(tmp_path / "outbox", hook.url)
        sender.send(alert())
        requests = hook.wait_for(4)
        wait_until(lambda: standing(tmp_path / "outbox")[0].sent_at)
        sender.close()
    assert {request.body for request in requests} == {msgspec.json.encode(alert())}
    assert {request.headers["Idempotency-Key"] for request in requests} == {"bad/1/1000:raised"}
    assert [(found.attempts, found.next_at) for found in standing(tmp_path / "outbox")] == [(4, None)]


def test_a_receiver_that_stalls_is_given_up_for_this_time_and_tried_again(tmp_path: Path) -> None:
    with Hook([STALL, 200]) as hook:
        sender = courier(tmp_path / "outbox", hook.url, timeout=0.2)
        sender.send(alert())
        hook.wait_for(2)
        wait_until(lambda: standing(tmp_path / "outbox")[0].sent_at)
        sender.close()


def test_after_the_last_attempt_an_alert_is_kept_with_the_reason_and_the_next_one_is_sent(tmp_path: Path) -> None:
    with Hook([404, 404, 200]) as hook:
        sender = courier(tmp_path / "outbox", hook.url, attempts=2)
        sender.send(alert("first"))
        hook.wait_for(2)
        sender.send(alert("second"))
        hook.wait_for(3)
        wait_until(lambda: standing(tmp_path / "outbox")[1].sent_at)
        sender.close()
    first, second = standing(tmp_path / "outbox")
    assert (first.sent_at, first.next_at, first.error) == (None, None, "the webhook answered 404")
    assert second.error == ""


def test_an_alert_that_comes_twice_is_sent_once(tmp_path: Path) -> None:
    with Hook() as hook:
        sender = courier(tmp_path / "outbox", hook.url)
        for id_ in ("a", "a", "b"):
            sender.send(alert(id_))
        requests = hook.wait_for(2)
        sender.close()
        again = courier(tmp_path / "outbox", hook.url)
        again.send(alert("a"))
        again.send(alert("c"))
        requests = hook.wait_for(3)
        again.close()
    assert [request.headers["Idempotency-Key"] for request in requests] == ["a:raised", "b:raised", "c:raised"]


def test_that_an_alert_is_over_is_not_said_before_the_alert_itself(tmp_path: Path) -> None:
    with Hook([500, 500, 200]) as hook:
        sender = courier(tmp_path / "outbox", hook.url)
        sender.send(alert())
        sender.send(over(alert()))
        requests = hook.wait_for(4)
        sender.close()
    states = [msgspec.json.decode(request.body, type=Alert).state for request in requests]
    assert states == ["raised", "raised", "raised", "over"]


def test_what_was_not_sent_before_the_process_ended_is_sent_by_the_next_one(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", system_clock)
    outbox.put(alert())
    outbox.close()
    with Hook() as hook:
        sender = courier(tmp_path / "outbox", hook.url)
        hook.wait_for(1)
        sender.close()


def test_less_severe_alerts_are_not_sent(tmp_path: Path) -> None:
    with Hook() as hook:
        sender = courier(tmp_path / "outbox", hook.url, least="warning")
        for severity in ("info", "warning", "critical"):
            sender.send(alert(severity, severity))
        requests = hook.wait_for(2)
        sender.close()
    assert [request.headers["Idempotency-Key"] for request in requests] == ["warning:raised", "critical:raised"]


def test_a_redirect_is_not_followed() -> None:
    with Hook() as other, Hook([307], {"Location": other.url}) as hook:
        webhook = Webhook(hook.url, KEY, 5, system_clock)
        with pytest.raises(DeliveryError, match="307"):
            webhook.deliver("a", b"{}")
        webhook.close()
        assert other.received == []


def test_a_receiver_may_say_how_long_to_wait() -> None:
    with Hook([429], {"Retry-After": "120"}) as hook:
        webhook = Webhook(hook.url, b"", 5, system_clock)
        with pytest.raises(DeliveryError) as refused:
            webhook.deliver("a", b"{}")
        webhook.close()
        assert "Headrace-Signature" not in hook.received[0].headers
    assert refused.value.wait == 120


UNTOLD = "T0123-untold"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://127.0.0.1:9/{UNTOLD}", "the webhook at 127.0.0.1 cannot be reached"),
        (f"http://[::1/{UNTOLD}", "the webhook cannot be reached"),
        (f"http://no.such.host.invalid/?token={UNTOLD}", "the webhook at no.such.host.invalid cannot be reached"),
        (f"http://127.0.0.1:port/{UNTOLD}", "the webhook at 127.0.0.1 cannot be reached"),
        (f"http://127.0.0.1/{UNTOLD}\n", "the webhook at 127.0.0.1 cannot be reached"),
    ],
)
def test_an_address_that_cannot_be_reached_is_a_failed_attempt_that_tells_the_host_only(url: str, said: str) -> None:
    webhook = Webhook(url, KEY, 5, system_clock)
    with pytest.raises(DeliveryError) as told:
        webhook.deliver("a", b"{}")
    webhook.close()
    assert said in str(told.value)
    assert UNTOLD not in "".join(traceback.format_exception(told.value))


@pytest.mark.parametrize("beginning", [b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 "])
def test_a_receiver_that_dribbles_for_ever_holds_up_neither_the_next_alert_nor_the_end(
    tmp_path: Path, beginning: bytes
) -> None:
    with dribbling(beginning) as url:
        sender = courier(tmp_path / "outbox", url, attempts=1, timeout=0.3)
        for id_ in ("first", "second"):
            sender.send(alert(id_))
        wait_until(lambda: all(found.next_at is None for found in standing(tmp_path / "outbox")))
        sender.close()
    assert [found.error for found in standing(tmp_path / "outbox")] == [
        "the webhook at 127.0.0.1 did not answer within 0.3 s"
    ] * 2


def test_closing_waits_no_longer_than_one_attempt_and_leaves_the_rest_in_the_outbox(tmp_path: Path) -> None:
    with Hook([STALL]) as hook:
        sender = courier(tmp_path / "outbox", hook.url, timeout=1.0)
        for id_ in ("first", "second", "third"):
            sender.send(alert(id_))
        hook.wait_for(1)
        began = time.monotonic()
        sender.close()
        assert time.monotonic() - began < 1.9
        wait_until(lambda: "headrace-alerts" not in {thread.name for thread in threading.enumerate()})
        assert len(hook.received) == 1
    assert [(found.alert, found.sent_at, found.next_at is None) for found in standing(tmp_path / "outbox")] == [
        ("first", None, False),
        ("second", None, False),
        ("third", None, False),
    ]


@contextmanager
def dribbling(beginning: bytes) -> Iterator[str]:
    """Run a receiver that answers letter by letter, without an end; give its address."""
    over = threading.Event()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(65_536)
                self.request.sendall(beginning)
                while not over.wait(0.02):
                    self.request.sendall(b"a")

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            over.set()
            server.shutdown()
            thread.join()


def test_an_id_with_any_letters_is_a_header_that_can_be_sent() -> None:
    with Hook() as hook:
        webhook = Webhook(hook.url, KEY, 5, system_clock)
        webhook.deliver("täble\r\nX: y:raised", b"{}")
        webhook.close()
    assert hook.received[0].headers["Idempotency-Key"] == "t%C3%A4ble%0D%0AX:%20y:raised"


def test_attempts_come_ever_later_up_to_an_hour() -> None:
    pauses = [back_off(attempts) for attempts in range(1, 8)]
    assert pauses == [1_000, 4_000, 16_000, 64_000, 256_000, 1_024_000, LONGEST_MILLIS]
    assert back_off(10_000) == LONGEST_MILLIS


def test_of_two_who_look_only_one_gets_a_message_until_its_time_is_over(tmp_path: Path) -> None:
    clock = Ticking()
    first, second = Outbox(tmp_path / "outbox", clock), Outbox(tmp_path / "outbox", clock)
    first.put(alert())
    found = first.claim(500)
    assert found is not None
    assert second.claim(500) is None
    clock.now += 500
    again = second.claim(500)
    assert again is not None
    assert again.attempts == 1
    first.close()
    second.close()


def test_what_was_sent_long_ago_is_forgotten_but_nothing_that_waits(tmp_path: Path) -> None:
    clock = Ticking()
    outbox = Outbox(tmp_path / "outbox", clock)
    outbox.put(alert("sent"))
    message = outbox.claim(1)
    assert message is not None
    outbox.sent(message)
    outbox.put(alert("waits"))
    outbox.close()
    clock.now += KEEP_MILLIS + 1
    outbox = Outbox(tmp_path / "outbox", clock)
    assert [found.alert for found in outbox.list()] == ["waits"]
    outbox.close()


def test_a_line_on_the_console_is_one_line_and_no_command() -> None:
    shown = line_of(alert(text="bad\n\x1b[2Janswers\u202e of\x07 'x'"))
    assert shown == "bad \ufffd[2Janswers\ufffd of\ufffd 'x'"


def test_the_console_is_as_loud_as_the_alert_is_severe(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for raised in (alert(severity="info"), alert(severity="critical"), over(alert(severity="critical"))):
            Console().send(raised)
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.CRITICAL, logging.INFO]


def test_the_sinks_of_the_settings_are_console_log_and_webhook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    log = FileLog(tmp_path / "log")
    with Hook() as hook:
        settings = load(data_dir=tmp_path, feedback={"webhook": {"url": hook.url, "key": SecretStr(KEY.decode())}})
        tell: AlertSinks = open_alert_sinks(settings, log)
        with caplog.at_level(logging.INFO):
            tell(alert())
        (request,) = hook.wait_for(1)
        tell.close()
    assert "headrace-alerts" not in {thread.name for thread in threading.enumerate()}
    assert "Headrace-Signature" in request.headers
    assert "answers turned bad" in caplog.text
    (record,) = [record for partition in range(4) for record in log.read("alerts", partition, 0, 10)[0]]
    assert msgspec.json.decode(record.value or b"", type=Alert) == alert()


def test_without_a_webhook_there_is_no_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(data_dir=tmp_path / "data")
    tell = open_alert_sinks(settings, FileLog(tmp_path / "log"))
    tell(alert())
    tell.close()
    assert not settings.outbox_path.exists()
