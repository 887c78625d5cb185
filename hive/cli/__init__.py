"""The command `hive`: its entry point, which answers Ctrl-C from its first moment."""

import os
import sys
from typing import NoReturn

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every expected error is one sentence on stderr."""
    try:
        import signal

        is_own_process = arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_own_process:
            signal.signal(signal.SIGINT, _leave)  # an import that is interrupted leaves half a module and a traceback
        from hive.cli.root import run

        if is_own_process:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run(arguments)
        if is_own_process:
            signal.signal(signal.SIGINT, _leave)  # the interpreter would complain while it ends
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


def _leave(signum: int, frame: object) -> NoReturn:
    os._exit(_INTERRUPTED)
