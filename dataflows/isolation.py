"""Parsing in a process of its own, for documents from outside that can hang, crash or fill the memory.

Invariant: a call ends within its time with a document or an error, whatever the document does to the process that
parses it; that process never outlives its parent by more than the time of one document.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import BinaryIO, cast

import msgspec

from events.documents import DocumentChange
from events.errors import HeadraceError, RejectedError
from operators.documents.parse import ISOLATED, ParsedDocument, bare_media_type, parse

_HEADER = struct.Struct("<Q")
_START_SECONDS = 120.0
_STOP_SECONDS = 2.0
_GRACE_SECONDS = 5


class Answer(msgspec.Struct, frozen=True):
    """What the child sends back: a document, or why there is none."""

    parsed: ParsedDocument | None = None
    detail: str = ""
    hint: str = ""


class IsolatedParser:
    """Parses documents, those of risky formats in a child process that is killed when it takes too long.

    The child starts with the first document that needs it and is used again for the next; after a document that
    took too long or broke it, another one starts. Threads may share a parser: the child takes one document at a time.

    :arg seconds: Time for one document, from its hand-over to the child.
    :arg megabytes: Memory that the child may reserve, where the system can limit it.
    """

    def __init__(self, seconds: float, megabytes: int = 4096) -> None:
        self.seconds = seconds
        self.megabytes = megabytes
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def __call__(self, change: DocumentChange) -> ParsedDocument:
        """Return the parsed document.

        :raises RejectedError: When it cannot be parsed, or not within the time and the memory.
        """
        if bare_media_type(change.media_type) not in ISOLATED:
            return parse(change)
        request = msgspec.msgpack.encode(change)
        with self._lock:
            answer = self._ask(request)
        if answer.parsed is None:
            raise RejectedError(answer.detail, answer.hint)
        return answer.parsed

    def close(self) -> None:
        """Stop the child. The next document starts another one."""
        with self._lock:
            self._discard()

    def _ask(self, request: bytes) -> Answer:
        for last in (False, True):
            used = self._child is not None
            child = self._child = self._child or _Child(self.megabytes, self.seconds)
            try:
                return child.ask(request, self.seconds)
            except TimeoutError:
                detail = f"parsing took longer than {self.seconds:g} s"
                hint = "split or simplify the document, exclude it, or raise knowledge.parse_seconds"
                raise RejectedError(detail, hint) from None
            except (OSError, EOFError, msgspec.DecodeError):
                # A child that served before may have been ended from outside: the document is not to blame yet.
                if last or not used:
                    detail = "the parser broke down on it, or ran out of memory"
                    raise RejectedError(detail, "simplify the document, or exclude it") from None
                self._discard()
            finally:
                # Also after Ctrl-C in the middle: a child that still owes an answer must not get another question.
                if not child.idle:
                    self._discard()
        raise AssertionError

    def _discard(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if not child.idle:
            child.process.kill()
        child.stop()


class _Child:
    """One child process and the pipes to it."""

    def __init__(self, megabytes: int, seconds: float) -> None:
        self.idle = False
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        self.process = subprocess.Popen(  # noqa: S603 - this very module, run by this very interpreter
            [sys.executable, "-m", "dataflows.isolation", str(megabytes), str(int(seconds) + _GRACE_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C in a terminal goes to everything in its session; the parent decides when the child ends.
            start_new_session=True,
        )
        self.stop = weakref.finalize(self, _stop, self.process)
        try:
            self._within(_START_SECONDS, lambda: _receive(cast(BinaryIO, self.process.stdout)))
            self.idle = True
        except (OSError, EOFError):
            detail = "the process that parses documents does not start"
            raise HeadraceError(detail, f"see why: {sys.executable} -m dataflows.isolation 4096 60") from None
        finally:
            if not self.idle:
                self.process.kill()
                self.stop()

    def ask(self, request: bytes, seconds: float) -> Answer:
        """Send a request, return the answer.

        :raises TimeoutError: When there is none in time; the process has been killed.
        :raises OSError, EOFError, msgspec.DecodeError: When the process has ended.
        """
        self.idle = False
        answer = self._within(seconds, lambda: self._exchange(request))
        decoded = msgspec.msgpack.decode(answer, type=Answer)
        self.idle = True
        return decoded

    def _exchange(self, request: bytes) -> bytes:
        _send(cast(BinaryIO, self.process.stdin), request)
        return _receive(cast(BinaryIO, self.process.stdout))

    def _within(self, seconds: float, work: Callable[[], bytes]) -> bytes:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.process.kill()

        # Killing the process ends whatever waits for its pipes: no deadline on the pipes themselves is needed.
        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            return work()
        except (OSError, EOFError):
            if expired.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        cast(BinaryIO, process.stdin).close()
    try:
        # An idle child ends by itself at the end of its input; one that still works is not waited for.
        process.wait(_STOP_SECONDS if process.poll() is None else 0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    cast(BinaryIO, process.stdout).close()


def _send(pipe: BinaryIO, message: bytes) -> None:
    pipe.write(_HEADER.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: BinaryIO) -> bytes:
    (length,) = _HEADER.unpack(_exactly(pipe, _HEADER.size))
    return _exactly(pipe, length)


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _limit_memory(megabytes: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _alarm(seconds: int) -> None:
    # Kills by default, in the kernel, even while a library holds the interpreter: a child whose parent has died in
    # the middle of a document ends too. The parent is faster while it lives.
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _answer(request: bytes) -> Answer:
    try:
        return Answer(parse(msgspec.msgpack.decode(request, type=DocumentChange)))
    except HeadraceError as error:
        return Answer(None, error.detail, error.hint)
    except MemoryError:
        return Answer(None, "parsing took more memory than it may", "split or simplify the document, or exclude it")
    except BaseException as error:  # a library written in Rust reports its panics as one
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return Answer(None, f"the parser gave up: {reason}", "simplify the document, or exclude it")


def serve(megabytes: int, seconds: int) -> None:
    """Answer requests until the input ends: the life of the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = cast(BinaryIO, sys.stdin.buffer)
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit_memory(megabytes)
    # Loading takes seconds that no document is to be charged with.
    for library in ("kreuzberg", "trafilatura"):
        importlib.import_module(library)
    _send(answers, b"")
    while True:
        try:
            request = _receive(requests)
        except EOFError:
            return
        _alarm(seconds)
        answer = msgspec.msgpack.encode(_answer(request))
        _alarm(0)
        try:
            _send(answers, answer)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
