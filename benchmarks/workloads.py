"""The benchmarked workloads: tables, networks, peers and targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

OURS = "trainer"
AGAIN = "trainer_again"
NAMES = {
    OURS: "trainer fit",
    AGAIN: "trainer fit, a second time",
    "keras": "Keras fit",
    "keras_best": "Keras fit, best settings",
    "keras_script": "Keras script",
    "torch_loop": "PyTorch, loop over tensors",
    "torch_loader": "PyTorch, DataLoader",
    "sklearn": "scikit-learn MLPClassifier",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A synthetic table: `features` normal numbers and a label that depends on some of them.

    Attributes:
        classes: Number of classes of the label.
        exclusive_or: Whether the table is the four rows of exclusive or instead of random rows.
    """

    rows: int
    features: int
    classes: int = 2
    exclusive_or: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """A dense network trained with Adam at 0.001, with accuracy as its metric.

    Attributes:
        widths: Units of the hidden layers, which a sigmoid or softmax head follows.
        activation: Activation of the hidden layers.
        batch: Batch size.
        with_everything: Batch normalization and dropout of 0.2 after each hidden layer, L2 of 1e-4,
            gradients clipped to a global norm of 1, a cosine schedule, AUC.
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    batch: int = 32
    with_everything: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """trainer should be at least `at_least` times as fast as a peer.

    Attributes:
        why_not: Explanation for the page if the target is missed.
    """

    against: str
    at_least: float
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """A network on a table, trained by trainer and its peers.

    Attributes:
        title: Title on the page.
        unit: "step": microseconds per training step; "fit": seconds of 1,000 epochs; "process": seconds
            of the whole process.
        epochs: Epochs of trainer; the second half is timed.
        peers: Peer → number of timed epochs, after an untimed one.
        once: Peers that run only in the first round.
        rounds: Number of rounds.
        validation: Share of rows used for validation after each epoch.
        matrix_share: Target share of the machine's matrix multiplication rate, or None.
    """

    key: str
    title: str
    table: Table
    network: Network
    unit: str
    epochs: int
    peers: dict[str, int]
    targets: tuple[Target, ...]
    once: tuple[str, ...] = ()
    rounds: int = 3
    validation: float = 0.2
    matrix_share: Target | None = None

    @property
    def training_rows(self) -> int:
        return self.table.rows - round(self.table.rows * self.validation)

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return -(-self.training_rows // self.network.batch)

    def flops(self) -> float:
        """Return the floating-point operations of an epoch's matrix products, including validation.

        Per row, each weight takes a multiplication and an addition in the forward pass, as many for its
        gradient, and as many for the gradient of its inputs, which the first layer does not need.
        """
        outputs = 1 if self.table.classes == 2 else self.table.classes
        widths = (self.table.features, *self.network.widths, outputs)
        weights = [before * after for before, after in pairwise(widths)]
        trained = 6 * sum(weights) - 2 * weights[0]
        validated = 2 * sum(weights)
        return trained * self.training_rows + validated * (self.table.rows - self.training_rows)

    def shortened(self) -> Workload:
        """Return a short version, to check that everything works."""
        rows = min(self.table.rows, max(2_000, self.table.rows // 50))
        return replace(
            self,
            table=replace(self.table, rows=rows),
            epochs=min(self.epochs, 12),
            peers=dict.fromkeys(self.peers, 1),
            rounds=1,
        )


_PRODUCTS = (
    "on one core, 4.1 of the 4.7 ms of CPU time per step are matrix products at the machine's rate "
    "(5.2 with XLA), so little remains to optimize."
)

_DIGITS = (
    "of the 3.3 ms per step, 2.5 are matrix products at this machine's rate for 128 rows (178 GFLOP/s, "
    "84% of the rate for large products), 0.5 are Adam, which is limited by memory bandwidth (SGD takes "
    "0.46 ms less), and 0.3 everything else. A machine with twice the rate took 2.2 ms, and Keras 3.6 "
    "times as long."
)

SMALL = Network((64, 64))
SMALL_TABLE = Table(20_000, 10)

WORKLOADS = {
    workload.key: workload
    for workload in (
        Workload(
            "W1",
            "A small network: 64-64-1 on 20,000 × 10, batch 32",
            SMALL_TABLE,
            SMALL,
            unit="step",
            epochs=40,
            peers={"keras": 3, "keras_best": 3, "torch_loop": 3, "torch_loader": 2, "sklearn": 3},
            targets=(Target("keras", 25), Target("torch_loop", 8), Target("sklearn", 7)),
        ),
        Workload(
            "W2",
            "Digits: 784-512-512-10 on 60,000 rows, batch 128",
            Table(60_000, 784, classes=10),
            Network((512, 512), batch=128),
            unit="step",
            epochs=8,
            peers={"keras": 1, "keras_best": 1, "torch_loop": 2, "torch_loader": 1, "sklearn": 1},
            once=("torch_loader", "sklearn"),
            targets=(Target("keras", 2.5, _DIGITS), Target("torch_loop", 1.4, _DIGITS)),
            matrix_share=Target("matrix", 0.7, _DIGITS),
        ),
        Workload(
            "W3",
            "Four rows: 2-2-1, sigmoid, 1,000 epochs after compilation",
            Table(4, 2, exclusive_or=True),
            Network((2,), activation="sigmoid", batch=4),
            unit="fit",
            epochs=2_000,
            peers={"keras": 200, "keras_best": 200, "torch_loop": 1_000},
            targets=(
                Target(
                    "keras",
                    100,
                    "an epoch of four rows is almost only its fixed cost (calling the program, metrics, "
                    "the log). On a machine of twice the speed (2026-11-24), it took 0.24 ms, and Keras "
                    "109 times as long.",
                ),
            ),
            validation=0.0,
        ),
        Workload(
            "W4",
            "A million rows: 256-256-256-1 on 1,000,000 × 28, batch 1,024",
            Table(1_000_000, 28),
            Network((256, 256, 256), batch=1_024),
            unit="step",
            epochs=4,
            peers={"keras": 1, "keras_best": 1, "torch_loop": 1},
            targets=(Target("keras", 1.5, _PRODUCTS), Target("torch_loop", 1, _PRODUCTS)),
            rounds=2,
        ),
        Workload(
            "W5",
            "W1 with batch normalization, dropout, clipping, cosine schedule, L2, AUC",
            SMALL_TABLE,
            Network((64, 64), with_everything=True),
            unit="step",
            epochs=40,
            peers={"keras": 2, "keras_best": 2},
            targets=(Target("keras", 15),),
        ),
        Workload(
            "W6",
            "Whole process: W1 from a CSV file for 50 epochs",
            SMALL_TABLE,
            SMALL,
            unit="process",
            epochs=50,
            peers={"keras_script": 50},
            targets=(Target("keras_script", 5),),
            rounds=2,
        ),
    )
}

GROWTH_ROWS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
GROWTH_WIDTHS = (16, 32, 64, 128, 256, 512, 1_024, 2_048)
_GROWTH_STEPS = 16_000
_GROWTH_EPOCHS = (4, 400)
_GROWTH_SECONDS = 20


def growth() -> dict[str, list[Workload]]:
    """Return workloads with growing rows and growing widths, starting from W1."""
    return {
        "rows": [_growth_workload(Table(rows, 10), SMALL) for rows in GROWTH_ROWS],
        "width": [
            _growth_workload(SMALL_TABLE, Network((width, width))) for width in GROWTH_WIDTHS
        ],
    }


def _growth_workload(table: Table, network: Network) -> Workload:
    workload = Workload("growth", "", table, network, "step", 1, {}, ())
    least, most = _GROWTH_EPOCHS
    # About 30 GFLOP/s is a conservative estimate for consecutive steps.
    seconds = max(60e-6 * workload.steps, workload.flops() / 30e9)
    affordable = min(_GROWTH_STEPS // workload.steps, int(_GROWTH_SECONDS / seconds))
    return replace(workload, epochs=max(least, min(most, affordable)))
