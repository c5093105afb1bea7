"""The entry point that all scripts share: `--json`, exit statuses and error messages.

With `--json`, standard output is exactly one JSON object (`{"error": …}` if the script fails), and everything else
goes to standard error.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from lab10.errors import Interrupted, RunError, UserError

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143


def run_script(main: Callable[[list[str]], tuple[dict[str, Any], str]]) -> NoReturn:
    """Calls `main(arguments)`, prints its result, and exits.

    The exit status is 0; 2 for a `UserError`; 130 or 143 for an interrupt or SIGTERM; 1 for any other error.

    Args:
      main: takes the arguments without `--json`; returns the result as a JSON object and as readable text.
    """
    arguments, positional = sys.argv[1:], []
    if "--" in arguments:  # what follows is never an option
        i = arguments.index("--")
        arguments, positional = arguments[:i], arguments[i:]
    as_json = "--json" in arguments
    arguments = [argument for argument in arguments if argument != "--json"] + positional
    signal.signal(signal.SIGTERM, _on_sigterm)
    _silence_cancelled_reads()
    try:
        with _stdout_to_stderr() if as_json else contextlib.nullcontext():
            result, text = main(arguments)
        _print(json.dumps(result) if as_json else text)
        _exit(EXIT_OK)
    except UserError as error:
        status, message = EXIT_USAGE, str(error)
    except RunError as error:
        status, message = EXIT_FAILURE, str(error)
    except Interrupted as error:
        status, message = (EXIT_TERMINATED if error.signal_number == signal.SIGTERM else EXIT_INTERRUPTED), str(error)
    except KeyboardInterrupt:
        status, message = EXIT_INTERRUPTED, "Interrupted."
    except BrokenPipeError:
        _exit(EXIT_FAILURE)
    except Exception as error:
        traceback.print_exc()
        status, message = EXIT_FAILURE, f"{type(error).__name__}: {error}"
    print(f"error: {message}" if status in (EXIT_USAGE, EXIT_FAILURE) else message, file=sys.stderr)
    if as_json:
        _print(json.dumps({"error": message}))
    _exit(status)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Redirects standard output to standard error, including the output of C++ libraries."""
    sys.stdout.flush()
    standard_output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(standard_output, 1)
        os.close(standard_output)


def _silence_cancelled_reads() -> None:
    """Silences tracebacks of reads that Orbax cancels.

    If one array of a checkpoint cannot be read, Orbax closes its event loop while the other arrays are being read. Each
    of these reads later prints a traceback of its own, in addition to the error that `run_script` reports.
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    default_hook = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)):
            default_hook(unraisable)

    sys.unraisablehook = hook


def _on_sigterm(number: int, frame: object) -> NoReturn:
    """Handles SIGTERM outside of training, when there is nothing to save."""
    raise Interrupted("Terminated.", number)


def _print(text: str) -> None:
    if text:
        print(text, flush=True)


def _exit(status: int) -> NoReturn:
    """Exits, even if standard output was closed early (`… | head`)."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)


def describe(metrics: dict[str, float]) -> str:
    """Formats metrics as one line of text: `loss 0.3126, accuracy 0.8712`."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
