"""Runs the project's scripts, in the test process if possible, else in a new process."""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import preloaded
import pytest

from lab10.config.errors import RunError, UserError

ROOT = Path(__file__).resolve().parents[2]


class Scripts:
    """Runs scripts/NAME.py with the test process's environment, plus these variables.

    A process has lab10 imported from the start, or is a new interpreter if not `is_preloaded`.
    """

    def __init__(self, is_preloaded: bool = True, **environment: str):
        self.environment, self._popen = environment, preloaded.Popen if is_preloaded else subprocess.Popen

    # In the test process: no process boundary, so no exit status and no standard output.

    def call(self, name: str, *arguments: Any, stdin: bytes = b"") -> tuple[dict[str, Any], str, str]:
        """Calls the script's `main`; returns its result after a trip through JSON, its text, and its standard error."""
        module, said = _module(name), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
            for variable, value in self.environment.items():
                patch.setenv(variable, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "argv", [f"scripts/{name}.py"])
            try:
                result, text = module.main([str(argument) for argument in arguments])
            except (UserError, RunError) as error:
                error.said = said.getvalue()
                raise
        return json.loads(json.dumps(result)), text, said.getvalue()

    def answer(self, name: str, *arguments: Any, stdin: bytes = b"") -> dict[str, Any]:
        """The result of a script that succeeds."""
        return self.call(name, *arguments, stdin=stdin)[0]

    def refusal(self, name: str, *arguments: Any, stdin: bytes = b"") -> str:
        """The message with which a script refuses a mistake: at most ten lines, as the contract says."""
        with pytest.raises(UserError) as refused:
            self.call(name, *arguments, stdin=stdin)
        message = str(refused.value)
        assert 0 < len((refused.value.said + message).strip().splitlines()) <= 10
        assert "Traceback" not in refused.value.said
        return message

    def failure(self, name: str, *arguments: Any) -> str:
        """The message of a script that fails for another reason than a user mistake."""
        with pytest.raises(RunError) as failed:
            self.call(name, *arguments)
        return str(failed.value)

    # In a process of its own.

    def start(self, name: str, *arguments: Any, **options: Any) -> subprocess.Popen:
        """Starts the script."""
        command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]
        return self._popen(command, cwd=ROOT, env=os.environ | self.environment, **options)

    def run(self, name: str, *arguments: Any, stdin: bytes = b"") -> subprocess.CompletedProcess:
        """Runs the script to its end."""
        with self.start(name, *arguments, stdin=-1, stdout=-1, stderr=-1) as process:
            out, said = process.communicate(stdin)
        return subprocess.CompletedProcess(process.args, process.returncode, out, said)

    def process_answer(self, name: str, *arguments: Any, stdin: bytes = b"") -> dict[str, Any]:
        """The one JSON object on the standard output of a script that succeeds."""
        done = self.run(name, *arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def process_refusal(self, name: str, *arguments: Any) -> str:
        """The message of a refused mistake on standard error, as the contract defines it."""
        done = self.run(name, *arguments, "--json")
        said = done.stderr.decode()
        assert done.returncode == 2, said
        assert "Traceback" not in said
        assert 0 < len(said.strip().splitlines()) <= 10
        assert json.loads(done.stdout).keys() == {"error"}
        return said


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
