"""The command `hostk8s-agent`, and `python -m hostk8s_agent`."""

from __future__ import annotations

import gc
import sys

from hostk8s_agent.cli.guarding import run_guarded
from hostk8s_agent.cli.quick import parse_quick_status
from hostk8s_agent.cli.status import show_status

# How many more objects there have to be before the collector looks at the new ones; by default it is 700. What is
# imported and what is known of a thousand stacks stays: looking at it again and again took a fifth of a start.
OBJECTS_BETWEEN_COLLECTIONS = 20_000


def main() -> None:
    """Do what the command line says, and end the process with the exit code of docs/cli.md."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    quick = parse_quick_status(sys.argv[1:])
    if quick is not None:
        sys.exit(run_guarded(lambda: show_status(quick)))
    # Typer only when it is needed: its import takes as long as a whole `status` without it.
    from hostk8s_agent.cli.app import run_app  # noqa: PLC0415 - as said

    run_app()


if __name__ == "__main__":
    main()
