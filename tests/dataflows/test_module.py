"""What every dataflow module does at its start."""

from __future__ import annotations

import subprocess
import sys

from tests.servers.hook import Hook

UNTOLD = "T0123-untold"
FLOW = """
import logging, sys
from bytewax.dataflow import Dataflow
from dataflows.module import flow_of
from stores.alerting.webhook import Webhook

def build(settings):
    webhook = Webhook(sys.argv[1], b"", 10, lambda: 0)
    webhook.deliver("a", b"{}")
    webhook.close()
    logging.getLogger("flow").info("delivered")
    return Dataflow("flow")

flow_of(build)("flow")
"""


def test_a_flow_tells_what_it_does_but_no_address_that_is_a_secret() -> None:
    with Hook() as hook:
        run = [sys.executable, "-c", FLOW, f"{hook.url}/{UNTOLD}?token={UNTOLD}"]
        ended = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "INFO flow: delivered" in ended.stderr
    assert [UNTOLD in request.path for request in hook.received] == [True]
    assert UNTOLD not in ended.stdout + ended.stderr
