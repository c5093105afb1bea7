"""The entry point that all scripts share: `--json`, exit statuses and error messages.

With `--json`, standard output is exactly one JSON object (`{"error": …}` if the script fails), and everything else
goes to standard error.
"""

import contextlib
import io
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from lab10.config.errors import Interrupted, RunError, UserError
from lab10.training.signals import drop_terminal, handle_stop_signals

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_SIGNAL = 0, 1, 2, 128
# The result as JSON, and as text for the terminal.
ScriptResult = tuple[dict[str, Any], str]


def run_script(main: Callable[[list[str]], ScriptResult]) -> NoReturn:
    """Calls `main(arguments)`, prints its result, and exits.

    The exit status is 0; 2 for a `UserError`; 128 + its number for a signal to stop, such as 130 for Ctrl-C and 143 for
    SIGTERM; 1 for any other error.

    Args:
      main: takes the arguments without `--json`; returns the result as a JSON object and as readable text.
    """
    _open_standard_streams()
    arguments, positional = sys.argv[1:], []
    if "--" in arguments:  # what follows is never an option
        i = arguments.index("--")
        arguments, positional = arguments[:i], arguments[i:]
    as_json = "--json" in arguments
    arguments = [argument for argument in arguments if argument != "--json"] + positional
    handle_stop_signals(_on_signal, signal.SIGTERM)
    _silence_cancelled_reads()
    try:
        with _stdout_to_stderr() if as_json else contextlib.nullcontext():
            result, text = main(arguments)
        _write_and_exit(json.dumps(result) if as_json else text, EXIT_OK)
    except UserError as error:
        status, message = EXIT_USAGE, str(error)
    except RunError as error:
        status, message = EXIT_FAILURE, str(error)
    except Interrupted as error:
        status, message = EXIT_SIGNAL + error.signal_number, str(error)
    except KeyboardInterrupt:
        status, message = EXIT_SIGNAL + signal.SIGINT, "Interrupted."
    except BrokenPipeError:
        _write_and_exit("", EXIT_FAILURE)
    except Exception as error:
        if unavailable := _unavailable_device(error):
            status, message = EXIT_USAGE, unavailable
        else:
            traceback.print_exc()
            status, message = EXIT_FAILURE, f"{type(error).__name__}: {error}"
    print(f"error: {message}" if status in (EXIT_USAGE, EXIT_FAILURE) else message, file=sys.stderr)
    _write_and_exit(json.dumps({"error": message}) if as_json else "", status)


def _open_standard_streams() -> None:
    """Opens the standard streams that the caller closed (`>&-`), and makes output in any encoding possible.

    Otherwise the first files that are opened would get their numbers, and what libraries print would end up in them.
    """
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 (open to the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _unavailable_device(error: Exception) -> str:
    """Returns a message if an error comes from JAX, because it cannot use the devices it was told to use, else `""`.

    For a GPU that is not there, JAX's error is an `AssertionError` without a message, and often without its frames.
    """
    jax = sys.modules.get("jax")
    if jax is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    if not any(frame.name == "backends" and "xla_bridge" in frame.filename for frame in frames):
        if jax.distributed.is_initialized():  # asking for the devices would wait for other processes
            return ""
        try:
            jax.devices()
            return ""
        except Exception as same_error:
            error = same_error
    reason = (
        str(error).splitlines()[0].partition(" (set JAX_PLATFORMS")[0][:300].rstrip(".")
        if str(error)
        else "it finds none"
    )
    platforms = jax.config.jax_platforms
    told = f"JAX cannot use the devices of JAX_PLATFORMS={platforms}" if platforms else "JAX cannot use its devices"
    return f"{told} ({reason}). Unset JAX_PLATFORMS to use what this machine has, or set it to cpu."


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


def _on_signal(number: int, frame: object) -> NoReturn:
    """Handles a signal to stop outside of training, when there is nothing to save."""
    if number == signal.SIGHUP:
        drop_terminal()
    raise Interrupted(f"{signal.strsignal(number)}.", number)


def _write_and_exit(output: str, status: int) -> NoReturn:
    """Prints the output and exits, even if standard output was closed early (`… | head`) or its disk is full."""
    try:
        print(output, end="\n" if output else "", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes standard output once more when it exits
        if status == EXIT_OK and not isinstance(error, BrokenPipeError):
            print(
                f"error: Standard output cannot be written ({error.strerror}). The script itself is done; only its "
                "result is lost.",
                file=sys.stderr,
            )
        status = status or EXIT_FAILURE
    sys.exit(status)


def format_metrics(metrics: dict[str, float]) -> str:
    """Formats metrics as one line of text: `loss 0.3126, accuracy 0.8712`."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
