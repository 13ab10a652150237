"""What is given to those who run Headrace for good can be read by what is to run it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.cluster.prepare import metrics_port_of, process_number
from stores.settings import FLOWS, load

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, Any]]:
    """Return the objects of the Kubernetes manifest by kind."""
    found = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert len({one["kind"] for one in found}) == len(found)
    return {one["kind"]: one for one in found}


def test_pods_find_each_other_under_the_names_that_they_have(objects: dict[str, dict[str, Any]]) -> None:
    stateful = objects["StatefulSet"]
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    name, service = stateful["metadata"]["name"], objects["Service"]
    (port,) = service["spec"]["ports"]
    addresses = variables["BYTEWAX_ADDRESSES"].split(";")
    assert addresses == [
        f"{name}-{number}.{service['metadata']['name']}:{port['port']}"
        for number in range(stateful["spec"]["replicas"])
    ]
    assert stateful["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert variables["BYTEWAX_STATEFULSET_NAME"] == name
    assert process_number({**variables, "BYTEWAX_POD_NAME": f"{name}-1"}) == 1
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    policy = objects["NetworkPolicy"]["spec"]
    (ingress,) = policy["ingress"]
    assert labels == service["spec"]["selector"] == policy["podSelector"]["matchLabels"]
    assert ingress["from"] == [{"podSelector": {"matchLabels": labels}}]
    assert ingress["ports"] == [{"port": port["port"]}]


def test_its_settings_are_ones_and_the_probe_asks_the_port_that_they_give(
    objects: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = objects["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "headrace.toml").write_text(objects["ConfigMap"]["data"]["headrace.toml"])
    monkeypatch.setenv("HEADRACE_CONFIG", str(tmp_path / "headrace.toml"))
    monkeypatch.setenv("HEADRACE_ROWS__DSN", "postgresql://rows")
    settings = load()
    headrace, run, flow = container["command"]
    assert (headrace, run, flow in FLOWS) == ("headrace", "run", True)
    probe = container["livenessProbe"]["exec"]["command"][-1]
    assert f"http://127.0.0.1:{metrics_port_of(flow, settings)}/health" in probe
    compile(probe, "probe", "exec")


def test_ports_are_told_as_they_are() -> None:
    told = dict(re.findall(r"(\w+) (91\d\d)", " ".join((DEPLOY / "README.md").read_text().split())))
    settings = load(cluster={"metrics_port": 9100})
    assert told == {flow: str(metrics_port_of(flow, settings)) for flow in FLOWS}


@pytest.mark.parametrize("unit", ["headrace@.service", "headrace-server.service"])
def test_systemd_takes_the_units(tmp_path: Path, unit: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    text = (DEPLOY / unit).read_text()
    assert text.count("/opt/headrace/bin/headrace ") == 1
    # Neither the program nor its user is on this machine.
    text = text.replace("/opt/headrace/bin/headrace ", "/bin/true ").replace("User=headrace", "User=root")
    copy = tmp_path / unit.replace("@", "@tables")
    copy.write_text(text)
    ended = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    mine = [line for line in ended.stderr.splitlines() if "headrace" in line]
    assert (ended.returncode, mine) == (0, [])
