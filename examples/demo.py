"""Three agents build a small web shop over MCP, and a listener shows how far they are.

Everything is real: a server of its own on a free port and with a database in a temporary
folder, an MCP client that plays the agents, and a WebSocket listener. The end compares what
the listener received with what the database stored.

    make demo                       watchable, some 12 seconds
    make demo ARGS=--fast           without pauses
    make demo ARGS=--keep           stays up afterwards until Ctrl+C
"""

import argparse
import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the examples are not installed


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="demo.py", description="Three agents at work, and a listener that watches them."
    )
    parser.add_argument("--fast", action="store_true", help="without pauses")
    parser.add_argument("--keep", action="store_true", help="stay up afterwards until Ctrl+C")
    return parser.parse_args()


def main() -> int:
    """Runs the demo; the exit code is 0 only if nothing was lost and all streams are complete."""
    given = options()
    # Ctrl+C while the modules load ends at once: there is nothing to clean up yet.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from examples import demo_run

    return demo_run.main(fast=given.fast, keep=given.keep)


if __name__ == "__main__":
    sys.exit(main())
