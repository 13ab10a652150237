"""The picture of the flows in the README, drawn from the flows themselves: `python -m dataflows.picture`.

With `--check` it changes nothing and fails when the picture is not what the flows are.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from bytewax.visualize import to_mermaid

from stores.capture_settings import CaptureSettings, PostgresTapSettings
from stores.delivery_settings import DeliverySettings, FilesDeliverySettings
from stores.settings import FLOWS, Settings

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- picture of the flows -->", "<!-- end of the picture -->"


def picture() -> str:
    """Return the flows as Mermaid code blocks, a block a flow."""
    blocks = []
    # What these two look like depends on what they are set to do: here one of each.
    settings = Settings(
        capture=CaptureSettings(postgres=(PostgresTapSettings(name="name", dsn="", tables=("schema.table",)),)),
        delivery=DeliverySettings(files=(FilesDeliverySettings(name="name", streams=("stream",), bucket="bucket"),)),
    )
    for name in FLOWS:
        flow = importlib.import_module(f"dataflows.{name}").build(settings)
        blocks.append(f"```mermaid\n{to_mermaid(flow).strip()}\n```\n")
    return "\n".join(blocks)


def with_picture(text: str) -> str:
    """Return `text` with the picture between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{picture()}\n{END}{after}"


def main() -> None:
    """Draw the picture into the README, or check it."""
    old = README.read_text(encoding="utf-8")
    new = with_picture(old)
    if "--check" not in sys.argv[1:]:
        README.write_text(new, encoding="utf-8")
    elif new != old:
        sys.exit("the picture in README.md is not what the flows are: run `just picture`")


if __name__ == "__main__":
    main()
