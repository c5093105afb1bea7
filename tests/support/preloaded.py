"""Starts Python programs in processes that have already imported JAX, Flax, Orbax, Optuna and lab10.

Half of the time of a short script is imports. `Popen` and `run` are those of `subprocess`, for the commands
`[sys.executable, "script.py", …]`, and with `-m` and `-c`. Each process is a fork of a server, which
the first command starts and which exits with the test process. The server initializes no JAX backend, so a fork reads
XLA_FLAGS and JAX's variables as a new interpreter does.

Differences from a new interpreter: variables that Python or a library reads when it starts have no effect, except
PYTHONPATH and those of JAX; a traceback begins with frames of this file; a script that forgets an import may succeed.
If that matters, use `subprocess`.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import types

import shared_results

# Imported by lab10 where they are first used; without the optional ones, some tests are skipped.
IMPORTED_LATER = (
    *("matplotlib.pyplot", "mlxtend.data", "optuna.storages", "orbax.checkpoint.v1", "psycopg", "rich.table"),
    *("sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "tensorboardX", "tensorflow_datasets"),
)

PIPE = subprocess.PIPE


class Popen(subprocess.Popen):
    """A `subprocess.Popen` whose process is a fork of the server."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest):
        """Asks the server for the process. The base class calls this where it would fork itself."""
        pipes = rest[3:9]
        stdin, _, _, stdout, _, stderr = pipes
        streams = [own if pipe == -1 else pipe for own, pipe in enumerate((stdin, stdout, stderr))]
        request = {
            "argv": [os.fspath(argument) for argument in args[1:]],
            "cwd": os.fspath(cwd or os.getcwd()),
            "environment": dict(os.environ if env is None else env),
            "start_new_session": rest[14],
        }
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(_server(), [json.dumps(request).encode()], [*streams, theirs.fileno()])
        self._close_pipe_fds(*pipes)
        self.pid = int(self._answers.recv(100))
        self._child_created = True

    def _try_wait(self, wait_flags):
        """Returns the process's ID and wait status, or zeros while it runs."""
        if self._answers.fileno() < 0:  # collected with a test that failed: nothing tells when the process ends
            return self.pid, signal.SIGKILL
        try:
            return self.pid, int(self._answers.recv(100, socket.MSG_DONTWAIT if wait_flags & os.WNOHANG else 0))
        except BlockingIOError:
            return 0, 0

    def _internal_poll(self, _deadstate=None):
        """Returns the exit status, or None while the process runs."""
        with self._waitpid_lock:
            pid, status = self._try_wait(os.WNOHANG) if self.returncode is None else (0, 0)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode

    def _handle_exitstatus(self, *arguments, **options):
        self._answers.close()
        super()._handle_exitstatus(*arguments, **options)


if sys.platform != "linux":  # elsewhere a process that has loaded libraries is not safe to fork
    Popen = subprocess.Popen


def run(command, *, input=None, **options):
    """Runs a command to its end, as `subprocess.run(…, capture_output=True)` does."""
    with Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        out, said = process.communicate(input)
    return subprocess.CompletedProcess(command, process.returncode, out, said)


@functools.cache
def _server():
    """Starts the server, and returns the socket on which it takes requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # The variables of JAX are applied by each fork.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    command = [sys.executable, __file__, str(theirs.fileno())]
    with theirs:
        _server.process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], **streams)
    return ours


def main(requests):
    """Forks for each request until the test process closes its end; a fork returns when its program ends."""
    del sys.path[0]  # this folder
    import lab10

    for module in (*(found.name for found in pkgutil.walk_packages(lab10.__path__, "lab10.")), *IMPORTED_LATER):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a fork that collects garbage would copy all of these objects
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # which reaps the forks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        content, descriptors, _, _ = socket.recv_fds(requests, 2**20, 4)
        if not content:
            return
        if os.fork() == 0:
            requests.close()
            _answer(json.loads(content), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _answer(request, *descriptors):
    """Runs the program in a child; this process waits, and tells its ID and then its wait status."""
    *streams, answers = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child != 0:
        for stream in streams:
            os.close(stream)
        os.write(answers, str(child).encode())
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(BrokenPipeError):
            os.write(answers, str(status).encode())
        os._exit(0)
    os.close(answers)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Python's streams remember whether those before could be searched.
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        setattr(sys, name, open(number, mode, buffering=1, encoding="utf-8", closefd=False))  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["start_new_session"]:
        os.setsid()
    os.chdir(request["cwd"])
    python_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:] = [path for path in sys.path if path not in python_path]
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    _configure_jax()
    if shared_results.FOLDER in os.environ:
        shared_results.share(setattr)
    _run_program(request["argv"])


def _configure_jax():
    """Reads the variables of JAX, as its import does, and draws new random numbers of NumPy."""
    import jax
    import numpy as np

    for name, value in jax.config.values.items():
        text = os.environ.get(name.upper())
        if text is not None:
            read = {bool: lambda text: text.lower() in ("1", "true", "yes", "on"), int: int, float: float}
            jax.config.update(name, read.get(type(value), str)(text))
    np.random.seed()  # Python's own generator does so by itself


def _run_program(argv):
    """Runs a script, the module after `-m` or the program after `-c` as `__main__`."""
    if argv[0] == "-c":
        sys.argv, program = ["-c", *argv[2:]], argv[1]
        sys.path.insert(0, "")
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(compile(program, "<string>", "exec"), module.__dict__)
    elif argv[0] == "-m":
        sys.argv = argv[1:]
        sys.path.insert(0, os.getcwd())
        sys.modules.pop(argv[1], None)
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv
        sys.path.insert(0, os.path.dirname(os.path.abspath(argv[0])))
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
