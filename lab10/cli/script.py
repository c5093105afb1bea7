"""What all scripts share: `--json`, exit statuses, error messages.

With `--json`, standard output is exactly one JSON object (`{"error": …}` where the script fails)
and everything else goes to standard error.
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
    """Calls `main(arguments)`, prints its result, and exits with a status.

    Args:
      main: takes the arguments without `--json`; returns the result as a JSON object and as text for people.
    """
    arguments, texts = sys.argv[1:], []
    if "--" in arguments:  # what follows is never an option
        index = arguments.index("--")
        arguments, texts = arguments[:index], arguments[index:]
    as_json = "--json" in arguments
    arguments = [argument for argument in arguments if argument != "--json"] + texts
    signal.signal(signal.SIGTERM, _terminated)
    _leave_out_reads_cut_off()
    try:
        with _kept_for_the_result() if as_json else contextlib.nullcontext():
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
def _kept_for_the_result() -> Iterator[None]:
    """Sends to standard error what libraries print meanwhile, those in C++ among them."""
    sys.stdout.flush()
    standard_output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(standard_output, 1)
        os.close(standard_output)


def _leave_out_reads_cut_off() -> None:
    """Where one array of a checkpoint cannot be read, Orbax closes its event loop on the reads of the others.

    They complain of that on their own, with tracebacks, whenever they end, beside the error that is told.
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    tell = sys.unraisablehook

    def tell_others(unraisable: "sys.UnraisableHookArgs") -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)):
            tell(unraisable)

    sys.unraisablehook = tell_others


def _terminated(number: int, frame: object) -> NoReturn:
    """SIGTERM outside of training, where there is nothing to save."""
    raise Interrupted("Terminated.", number)


def _print(text: str) -> None:
    if text:
        print(text, flush=True)


def _exit(status: int) -> NoReturn:
    """Ends the process, also where standard output was closed early (`… | head`)."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)


def describe(metrics: dict[str, float]) -> str:
    """Metrics as one line of text: `loss 0.3126, accuracy 0.8712`."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
