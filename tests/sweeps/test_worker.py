"""What a job's process tells the sweep's pruner, and what it does when a point is pruned."""

import pytest

from lab10.sweeps import worker


@pytest.fixture
def told(monkeypatch):
    """What the pruner is told, (number, step, value); it prunes a point whose value is above 10."""
    told = []

    class Trial:
        def __init__(self, number):
            self.number = number

        def report(self, value, step):
            told.append((self.number, step, value))

        def should_prune(self):
            return told[-1][-1] > 10

    class Queue:
        def __init__(self, *_):
            pass

        def watcher(self, number):
            return Trial(number)

    monkeypatch.setattr("lab10.sweeps.queue.Queue", Queue)
    return told


@pytest.fixture
def watches(told, image_experiment):
    """Makes the watches of runs of these points, and the set of points that they prune."""

    def make(*numbers):
        names = ("storage", "name", "sampler", "pruner", "lost_after")
        job = {"runs": [{"number": number} for number in numbers]} | dict.fromkeys(names)
        pruned = set()
        return worker._watches(job, [image_experiment()] * len(numbers), pruned), pruned

    return make


def test_the_pruner_is_told_the_mean_over_a_points_seeds_once_a_step(watches, told):
    (first, second, other), pruned = watches(3, 3, 5)
    for step, values in ((10, (1.0, 3.0, 7.0)), (20, (2.0, 5.0, 8.0))):
        assert not any(
            watch(step, {"loss": value}) for watch, value in zip((first, second, other), values, strict=True)
        )
    assert told == [(3, 10, 2.0), (5, 10, 7.0), (3, 20, 3.5), (5, 20, 8.0)]
    assert pruned == set()


def test_all_seeds_of_a_pruned_point_end_and_no_other_point_does(watches):
    (first, second, other), pruned = watches(3, 3, 5)
    assert not first(10, {"loss": 30.0}), "the point is judged once all its seeds are there"
    assert second(10, {"loss": 30.0})
    assert not other(10, {"loss": 1.0})
    assert first(20, {"loss": 1.0})
    assert pruned == {3}
