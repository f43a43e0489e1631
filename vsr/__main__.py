"""python -m vsr, and the console script: an interrupt is one line from the first import on."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Loads the command line and runs it."""
    try:
        from vsr.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("vsr: interrupted; nothing is left behind\n")
        sys.exit(130)
    try:
        run()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # the work is done: what comes now must not change how it ends
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
