"""The loop: feeds the step, writes lines of metrics, evaluates, saves, resumes. The same for every task."""

import contextlib
import functools
import time
from collections.abc import Sequence
from typing import Any

from lab10.agreement import agreed, everywhere, on_first, refuse_together, require_same
from lab10.compilation_cache import use_compilation_cache
from lab10.config import Experiment, flatten
from lab10.console import console
from lab10.data.dataset import OpenDataset, Split
from lab10.errors import Interrupted, RunError, UserError
from lab10.fields import option
from lab10.training.checkpoints import Checkpoints
from lab10.training.ensemble import Ensemble
from lab10.training.profile import Profile
from lab10.training.progress import Progress, print_layers
from lab10.training.record import Record, Watch
from lab10.training.signals import StopRequest
from lab10.training.state import Params, TrainState, count_parameters
from lab10.training.step import Program
from lab10.training.stepper import Stepper
from lab10.workdir import Workdir, made_with


def train(experiment: Experiment, workdir: Workdir) -> dict[str, Any]:
    """Trains, or goes on with, a run until its last step, or until its patience ends.

    Args:
      experiment: what to run.
      workdir: where; a run that is there already is continued from its last checkpoint.

    Returns:
      `workdir`, `step`, `parameters` (count), `train_seconds`, `validation` (metrics at the last
      step) and `best` (`step` and validation metrics of the best checkpoint).

    Raises:
      UserError: the data are missing, or the workdir holds another run.
      RunError: the loss or a parameter is no longer finite.
      Interrupted: a signal stopped the run; a checkpoint holds its state.
    """
    return train_together([experiment], [workdir])[0]


def train_together(
    experiments: Sequence[Experiment], workdirs: Sequence[Workdir], watches: Sequence[Watch | None] | None = None
) -> list[dict[str, Any]]:
    """Trains runs that differ in numbers alone as one program, on the same batches; each as `train` would alone.

    Args:
      experiments: one `lab10.numbers.program_key` has them all.
      workdirs: of each.
      watches: what looks at the evaluations of each.

    Returns:
      Of each what `train` returns.

    Raises:
      UserError, RunError, Interrupted: as `train`; what ends one run ends all.
    """
    use_compilation_cache()
    watches = [None] * len(experiments) if watches is None else watches
    records = [Record(*one) for one in zip(experiments, workdirs, watches, strict=True)]
    experiment = experiments[0]
    try:
        with contextlib.ExitStack() as locks:
            for one, workdir in zip(experiments, workdirs, strict=True):
                require_same(functools.partial(identity, one, workdir))
            on_first(lambda: [locks.enter_context(workdir.locked()) for workdir in workdirs])
            dataset = everywhere(experiment.data.open)
            require_same(lambda: {"the content of the dataset": dataset.content_sha256})
            train_split = dataset.open_split("train")
            validation = dataset.open_split("validation") if experiment.data.validation_share > 0 else None
            total = experiment.total_steps(len(train_split))
            mesh = experiment.mesh.build()
            programs = [Program(one, dataset.spec, total, mesh) for one in experiments]
            start_from = None
            if experiment.start_from is not None and not all(record.checkpoints.steps() for record in records):
                start_from = params_of(experiment.start_from, dataset, programs[0].abstract_params())
            for one, workdir in zip(experiments, workdirs, strict=True):
                on_first(functools.partial(workdir.write_config, one, dataset))
                refuse_together(workdir.problem_of_sharing())
            require_same(lambda: {str(record.checkpoints.directory): record.checkpoints.steps() for record in records})
            states = restore_or_start(records, programs, total, start_from)
            began = time.monotonic()
            going = [place for place, record in enumerate(records) if not record.is_done(total)]
            if going:
                of_going = [records[place] for place in going]
                program = programs[going[0]]
                if len(going) > 1:
                    program = Ensemble([record.experiment for record in of_going], dataset.spec, total, mesh)
                trainer = Trainer(of_going, program, train_split, validation, total)
                trainer.go([states[place] for place in going])
            seconds, parameters = time.monotonic() - began, count_parameters(programs[0].abstract_params())
            return [record.summary(parameters, seconds) for record in records]
    except OSError as error:
        at_fault = next((one for one in records if str(one.workdir.path) in str(error.filename)), records[0])
        raise RunError(
            f"{error.filename or at_fault.workdir.path}: {error.strerror or error}. {at_fault.last_good()}\n"
            "Once that is mended, the same command goes on."
        ) from error


def identity(experiment: Experiment, workdir: Workdir) -> dict[str, Any]:
    """What the processes of one run have in common, by option or name: all but where each finds its data."""
    fields = {option(path): value for path, value in flatten(experiment, running=True).items()}
    elsewhere = {"--data.dir", "--data.cache-dir"}
    software = {name: value for name, value in made_with().items() if name not in ("device", "devices")}
    shared = {name: value for name, value in fields.items() if name not in elsewhere}
    return shared | {"--workdir": str(workdir.path)} | software


def restore_or_start(
    records: Sequence[Record], programs: Sequence[Program], total: int, start_from: Params | None
) -> list[TrainState]:
    """The states from which runs go on: those that are not done from a step of which they all have a checkpoint."""
    at_most: dict[int, int | None] = dict.fromkeys(range(len(records)))
    while True:
        states = []
        for place, (record, program) in enumerate(zip(records, programs, strict=True)):
            restored = record.restore(program.abstract_trees(), at_most[place])
            if restored is not None:
                states.append(program.go_on(restored.step, restored.trees))
            else:
                states.append(program.start(program.init_params() if start_from is None else start_from))
        going = [place for place, record in enumerate(records) if not record.is_done(total)]
        steps = {records[place].step for place in going}
        if len(steps) <= 1:
            break
        at_most |= dict.fromkeys(going, min(steps))
    for record in records:
        if record.step:
            console.print(f"Going on from step {record.step} in {record.workdir.path}", markup=False)
    return states


class Trainer:
    """One process's part of a run, or of several together: from their states to the end, or to a signal."""

    def __init__(
        self, records: Sequence[Record], program: Program, train_split: Split, validation: Split | None, total: int
    ):
        self._records, self._program, self._total = records, program, total
        self._experiment = records[0].experiment
        self._stepper = Stepper(self._experiment, program, train_split)
        self._validation = None if validation is None else program.feed(validation)

    def go(self, states: Sequence[TrainState]) -> None:
        """Trains until nothing is left to do."""
        start = int(states[0].step)
        print_layers(self._program.module, states[0].params)
        state = self._program.join(states)
        with (
            contextlib.ExitStack() as records,
            Progress(self._total, start) as progress,
            Profile(self._records[0].workdir.path / "tensorboard", self._experiment.profile_steps) as profile,
            StopRequest() as stop,
        ):
            for record in self._records:
                records.enter_context(record.written_from(start, self._stepper.steps_per_epoch, progress))
            step = start
            while step < self._total and any(not record.finished for record in self._records):
                before = step
                state, step = self._stepper.advance(state, step, self._next_due(step))
                progress.step(step)
                profile.steps(step - before, state)
                self._collect(left_under_way=1)
                signal_number = agreed(stop.signal_number or 0)
                if self._due(step, self._experiment.log_every):
                    self._write_train_lines(step)
                if self._due(step, self._evaluate_every):
                    self._evaluate_and_save(step, state)
                elif signal_number or self._due(step, self._experiment.checkpoint_every):
                    self._save(step, state)
                if signal_number and step < self._total:
                    raise Interrupted(f"Stopped at step {step} of {self._total}; saved.", signal_number)

    def _due(self, step: int, every: int | None) -> bool:
        return every is not None and (step % every == 0 or step == self._total)

    @property
    def _evaluate_every(self) -> int:
        return self._experiment.evaluate_every or self._stepper.steps_per_epoch

    def _next_due(self, step: int) -> int:
        """The next step after which there is something to do."""
        cadences = (self._experiment.log_every, self._evaluate_every, self._experiment.checkpoint_every)
        return min(self._total, *((step // every + 1) * every for every in cadences if every is not None))

    def _collect(self, left_under_way: int = 0) -> None:
        """Hands the reports of steps to the records, but for those of the last dispatches."""
        for step, reports in self._stepper.reports(left_under_way):
            for record, report in zip(self._records, reports, strict=True):
                if not record.finished:
                    record.add(step, report)

    def _going(self, state: TrainState) -> list[tuple[Record, TrainState]]:
        """The records that are still written, each with the state of its run."""
        members = zip(self._records, self._program.members(state), strict=True)
        return [(record, member) for record, member in members if not record.finished]

    def _write_train_lines(self, step: int) -> None:
        self._collect()
        for record in self._records:
            if not record.finished:
                record.write_train_line(step)

    def _evaluate_and_save(self, step: int, state: TrainState) -> None:
        self._collect()
        for record, member in self._going(state):
            if self._validation is not None:
                record.validated(step, self._program.evaluate(member.evaluated, self._validation).metrics)
            record.save(step, member, validated=self._validation is not None)

    def _save(self, step: int, state: TrainState) -> None:
        self._collect()  # first: what is not finite is never saved
        for record, member in self._going(state):
            record.save(step, member, validated=False)


def params_of(directory: str, dataset: OpenDataset, abstract_params: Params) -> Params:
    """The best parameters of another run, for a model of the same shapes and the same words.

    Raises:
      UserError: there is no such run, or its model or vocabulary is another.
    """
    other = Workdir(directory)
    experiment = other.read_experiment()
    if dataset.vocabulary is not None and list(other.read_vocabulary()) != list(dataset.vocabulary):
        raise UserError(
            f"--start-from {directory}: that run has another vocabulary, so its embedding means other words."
        )
    higher_is_better = experiment.task.metrics[experiment.select_by]
    checkpoints = Checkpoints(other.checkpoints_path, experiment.select_by, higher_is_better)
    try:
        return checkpoints.restore(checkpoints.find("best"), {"params": abstract_params}).trees["params"]
    except UserError as error:
        raise UserError(f"--start-from {directory}: {error}") from error
