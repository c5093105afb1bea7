"""Trains short runs in which a write fails, resumes them without a fault, and prints the result of each.

    python tests/stress/failing_writes.py '{"folder": …, "arguments": […], "errors": ["ENOSPC"], "most": 10, "seed": 0}'

Each distinct write of a run fails once, or `most` of them: its first, its last or one between, with one of the
`errors`, from there on or only there.

All runs share this process, since a fault takes a third of a second so and three seconds otherwise. The answer is
one JSON object a line: `total`, the writes of a run, then one for each fault: the `write`'s name, `nth`, `error`,
`lasting`, how the run `ended` (`finished`, or the exception), its `message`, whether the checkpoint that was newest
before the fault is `kept`, and `differs`, what is not as in a run without faults after it resumed, or null.
"""

import contextlib
import importlib.util
import io
import json
import random
import re
import shutil
import sys
from pathlib import Path

import faulty
import jax
from reproducible_outputs import reproducible_outputs, require_same

from lab10.config.errors import Interrupted, RunError, UserError

ROOT = Path(__file__).resolve().parents[2]
CADENCE = ("--steps", "12", "--log-every", "5", "--evaluate-every", "4", "--checkpoint-every", "3")
SAVED = (3, 4, 6, 8, 9, 12)  # the steps at which a run of that cadence commits a checkpoint


class Switch:
    """Delegates to the faults of the current process, because audit hooks cannot be removed."""

    def __init__(self):
        self.faults = None

    @property
    def torn(self):
        return self.faults.torn

    def under_root(self, path, folder=None):
        return self.faults.under_root(path, folder) if self.faults else None

    def announce(self, *arguments):
        return self.faults is not None and self.faults.announce(*arguments)

    def inject_fault(self, path):
        self.faults.inject_fault(path)

    def before_write(self, *arguments):
        if self.faults:
            self.faults.before_write(*arguments)

    def audit_hook(self, *arguments):
        if self.faults:
            self.faults.audit_hook(*arguments)


class Lives:
    """Runs of one training command in one folder, one after the other."""

    def __init__(self, folder, arguments):
        self._folder, self._arguments = Path(folder), [str(argument) for argument in arguments]
        self.workdir, self._log = self._folder / "run", self._folder / "writes"
        spec = importlib.util.spec_from_file_location("train_script", ROOT / "scripts" / "train.py")
        self._script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._script)
        self._switch = Switch()
        faulty.install(self._switch)

    def train(self, **fault):
        """Trains or resumes; returns the answer and the names of the writes announced."""
        self._log.unlink(missing_ok=True)
        self._switch.faults = faulty.Faults(str(self.workdir), str(self._log), **fault)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                return self._script.main([*self._arguments, "--workdir", str(self.workdir)])[0]
        finally:
            self._switch.faults = None

    def writes(self):
        """The names of the writes announced in the last life."""
        return self._log.read_text().splitlines()

    def clear(self):
        """Removes the run, so that the next process starts a new one."""
        shutil.rmtree(self.workdir, ignore_errors=True)


def is_commit(name):
    return re.fullmatch(r"rename checkpoints/N\S* > checkpoints/N", name) is not None


def newest(workdir):
    return max((int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()), default=0)


def main(folder, arguments, errors, most, seed):
    lives = Lives(folder, arguments)
    lives.train()  # compiles
    lives.clear()
    answer = lives.train()
    names, expected = lives.writes(), reproducible_outputs(lives.workdir, json.dumps(answer))
    print(json.dumps({"total": len(names), "distinct": len(set(names))}), flush=True)
    draw, distinct = random.Random(seed), list(dict.fromkeys(names))
    for name in distinct if most is None else draw.sample(distinct, most):
        nth = draw.choice((1, draw.randint(1, names.count(name)), names.count(name)))
        error, lasting = draw.choice(errors), draw.choice((False, True))
        jax.clear_caches()  # each run maps its programs into memory anew, and a process may have 65,530 maps
        lives.clear()
        ended, message = "finished", ""
        try:
            lives.train(at=(name, nth), do=error, lasting=lasting)
        except (RunError, UserError, Interrupted) as told:
            ended, message = type(told).__name__, str(told)
        except Exception as raised:
            ended, message = f"traceback of {type(raised).__name__}", str(raised)
        found = newest(lives.workdir)
        before = lives.writes()[: _index(lives.writes(), name, nth)]
        commits = sum(map(is_commit, before))
        kept = found >= max(SAVED[:commits], default=0)
        try:
            answer = lives.train()
            require_same(expected, reproducible_outputs(lives.workdir, json.dumps(answer)), lives.workdir)
            differs = None
        except Exception as raised:
            differs = f"{type(raised).__name__}: {raised}"[:400]
        print(
            json.dumps(
                {
                    "write": name,
                    "nth": nth,
                    "error": error,
                    "lasting": lasting,
                    "ended": ended,
                    "message": message,
                    "kept": kept,
                    "differs": differs,
                }
            ),
            flush=True,
        )


def _index(names, name, nth):
    return [i for i, one in enumerate(names) if one == name][nth - 1]


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    main(asked["folder"], [*asked["arguments"], *CADENCE], asked["errors"], asked["most"], asked["seed"])
