"""What dividing a run over hosts should cost, from what a step moves: `python -m benchmarks.scale_model`.

Gradients are summed over the hosts once a step. In a ring each host sends, and receives, 2 (n - 1) / n of their bytes
in 2 (n - 1) messages (Patarasuk and Yuan 2009); a tree takes 2 ceil(log2 n) messages of all of it. The library picks;
here the quicker counts. Nothing else of note is moved: a host reads its own rows, and checkpoints are rare.
"""

import dataclasses
import math

BYTES = 4  # of a float32


@dataclasses.dataclass(frozen=True)
class Network:
    """A network between hosts.

    Attributes:
      name: for the table.
      bandwidth: of a host in one direction, bytes a second.
      latency: of a message, seconds.
    """

    name: str
    bandwidth: float
    latency: float


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run on one host.

    Attributes:
      name: of the experiment.
      parameters: number of parameters.
      step_seconds: seconds of one step on one host.
      batch_bytes: of a batch, as it goes to the device.
      optimizer_copies: arrays of the parameters' size that the optimizer holds.
    """

    name: str
    parameters: int
    step_seconds: float
    batch_bytes: int
    optimizer_copies: int

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of the parameters and the optimizer's state."""
        return BYTES * self.parameters * (1 + self.optimizer_copies)

    def scaled(self, factor: int) -> "Run":
        """The same with so many times the parameters, and the arithmetic that they take."""
        larger = dataclasses.replace(self, parameters=factor * self.parameters, step_seconds=factor * self.step_seconds)
        return dataclasses.replace(larger, name=f"{self.name} × {factor:,}")


def all_reduce_seconds(numbers: int, hosts: int, network: Network) -> float:
    """Seconds until every host has the sum, over all hosts, of `numbers` float32 values."""
    if hosts == 1:
        return 0.0
    seconds_of_all = BYTES * numbers / network.bandwidth
    ring = 2 * (hosts - 1) * (seconds_of_all / hosts + network.latency)
    tree = 2 * math.ceil(math.log2(hosts)) * (seconds_of_all + network.latency)
    return min(ring, tree)


def speed_up(run: Run, hosts: int, network: Network, same_batch: bool) -> float:
    """Examples a second of so many hosts over those of one: the batch divided, or as large on each as on one."""
    share = run.step_seconds / hosts if same_batch else run.step_seconds
    seconds = share + all_reduce_seconds(run.parameters, hosts, network)
    return run.step_seconds / seconds * (1 if same_batch else hosts)


# Steps as docs/performance.md has them, on 2 cores; batches of 32.
RUNS = (
    Run("imdb_lstm", 652_513, 3.167e-3, 32 * 147 * 2, optimizer_copies=1),
    Run("mnist_autoencoder_lab", 435_536, 0.359e-3, 32 * 784, optimizer_copies=2),
)
NETWORKS = (Network("10 Gbit/s, 50 µs", 1.25e9, 50e-6), Network("400 Gbit/s, 5 µs", 50e9, 5e-6))
HOSTS = (8, 64, 1024)


def main() -> None:
    runs = [larger for run in RUNS for larger in (run, run.scaled(1000))]
    print("| run | parameters | batch | gradients summed | checkpoint |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for run in runs:
        sizes = (run.batch_bytes, BYTES * run.parameters, run.checkpoint_bytes)
        print(f"| {run.name} | {run.parameters:,} | {' | '.join(f'{size / 1e6:,.3g} MB' for size in sizes)} |")
    for same_batch in (True, False):
        print(f"\n{'The same batch, divided' if same_batch else 'A batch of its own on each host'}\n")
        print("| run | network | " + " | ".join(f"{hosts:,} hosts" for hosts in HOSTS) + " |")
        print("| --- | --- |" + " ---: |" * len(HOSTS))
        for run in runs:
            for network in NETWORKS:
                gains = (speed_up(run, hosts, network, same_batch) for hosts in HOSTS)
                print(f"| {run.name} | {network.name} | {' | '.join(f'{gain:,.2f}' for gain in gains)} |")


if __name__ == "__main__":
    main()
