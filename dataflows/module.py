"""The module-level `flow` of a dataflow module, made when it is asked for: importing the module does nothing."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable

from bytewax.dataflow import Dataflow

from events.errors import HeadraceError
from stores.settings import Settings, load


def flow_of(build: Callable[[Settings], Dataflow]) -> Callable[[str], Dataflow]:
    """Return a module's `__getattr__` that makes its `flow` from the settings.

    What stops the start is said in one line, without a traceback.
    """

    def module_getattr(name: str) -> Dataflow:
        if name != "flow":
            message = f"a dataflow module has no attribute {name!r}"
            raise AttributeError(message)
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
        for chatty in ("httpx", "httpcore"):
            # They tell whole addresses at INFO, and the address of a webhook is a secret of who receives it.
            logging.getLogger(chatty).setLevel(logging.WARNING)
        _collect_seldom()
        try:
            return build(load())
        except HeadraceError as error:
            sys.exit(f"headrace: {error}")

    return module_getattr


def _collect_seldom() -> None:
    """Let the collector of cyclic garbage look seldom: a flow makes many objects and hardly a cycle.

    At Python's own pace it costs the tables flow a seventh of its time.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
