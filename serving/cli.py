"""The `headrace` command line. Errors that a user can mend are one line; everything else is a bug and says so."""

from __future__ import annotations

import sys

import typer

from events.errors import PASSING, HeadraceError, UnreachableError
from serving.commands import (
    ask,
    capture,
    context,
    export,
    forget,
    held,
    keys,
    kpis,
    lake,
    letters,
    log,
    mcp,
    profile,
    run,
    sentiment,
    serve,
    status,
    tables,
    topics,
    up,
    upkeep,
)

app = typer.Typer(
    name="headrace",
    help="""Fresh context for generative-AI applications.

    Point it at your documents:

        headrace run knowledge --folder ./docs

    and ask, from another terminal:

        headrace search "what is the cancellation fee?"

    Operational tables come in as change events: [bold]headrace run tables[/bold], [bold]headrace table --help[/bold].

    So do customers, one profile a person: [bold]headrace run profiles[/bold], [bold]headrace profile --help[/bold].

    What people think of the answers becomes KPIs and alerts: [bold]headrace run feedback[/bold],
    [bold]headrace kpi --help[/bold]; and training data: [bold]headrace run lake[/bold].

    All of it comes together in the context of a question: [bold]headrace context --help[/bold],
    [bold]headrace answer --help[/bold]; for applications, and on a page: [bold]headrace serve[/bold]; with all flows:
    [bold]headrace up[/bold].

    All settings can stand in headrace.toml or in HEADRACE_… variables: see [bold]headrace settings[/bold].""",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
run.register(app)
ask.register(app)
context.register(app)
status.register(app)
tables.register(app)
profile.register(app)
forget.register(app)
kpis.register(app)
lake.register(app)
export.register(app)
keys.register(app)
mcp.register(app)
sentiment.register(app)
serve.register(app)
up.register(app)
upkeep.register(app)
app.add_typer(held.app, name="held")
app.add_typer(letters.app, name="dead-letters")
app.add_typer(log.app, name="log")
app.add_typer(topics.app, name="topics")
app.add_typer(capture.app, name="capture")


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    try:
        app()
    except UnreachableError as error:
        sys.stderr.write(f"headrace: {error}\n")
        sys.exit(PASSING)
    except HeadraceError as error:
        sys.exit(f"headrace: {error}")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        sys.exit(f"headrace: {error.strerror}: {error.filename} (correct the path, or data_dir in the settings)")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has gone: what it wanted, it got.
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
