"""Train a torch network on handwritten digits, with torch's AdamW and with gradmill's.

    pip install 'gradmill[demo,torch]'
    python examples/torch_digits.py

Only the optimizer differs: same batches, same schedule of the learning rate, same clipping. The
table shows the accuracy on digits that the network has not seen, milliseconds for a step of the
optimizer, clipping included, and for a step of training.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

try:
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from gradmill.adapters.torch import AdamW
except ImportError as error:
    sys.exit(f"{error}; install what the example needs with: pip install 'gradmill[demo,torch]'")

RATE, DECAY, MAX_NORM = 3e-3, 1e-2, 1.0
EPOCHS, BATCH, HIDDEN = 10, 64, 512


class Theirs:
    """torch's optimizer, behind a step that clips gradients first."""

    def __init__(self, net: Any) -> None:
        self.params = list(net.parameters())
        self.opt = torch.optim.AdamW(self.params, lr=RATE, weight_decay=DECAY, fused=True)

    def step(self) -> None:
        """Clip and step."""
        torch.nn.utils.clip_grad_norm_(self.params, MAX_NORM)
        self.opt.step()


class Ours:
    """gradmill's, which clips on the way."""

    def __init__(self, net: Any) -> None:
        self.opt = AdamW(net.parameters(), lr=RATE, weight_decay=DECAY, max_norm=MAX_NORM)

    def step(self) -> None:
        """Step."""
        self.opt.step()


@dataclass
class Run:
    """A network in training.

    Attributes:
        seconds_stepping: Spent by the optimizer.
        seconds: Spent in all.
    """

    name: str
    stepper: Theirs | Ours
    net: Any
    schedule: Any
    seconds_stepping: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def begin(cls, name: str, kind: type[Theirs | Ours], batches: int) -> Run:
        """Make the same network each time."""
        torch.manual_seed(0)
        layers = [torch.nn.Linear(64, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, HIDDEN)]
        net = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 10))
        stepper = kind(net)
        schedule = torch.optim.lr_scheduler.OneCycleLR(stepper.opt, RATE, EPOCHS * batches)
        return cls(name, stepper, net, schedule)

    def train(self, images: Any, digits: Any) -> None:
        """Take a step of training."""
        start = time.perf_counter()
        self.stepper.opt.zero_grad()
        torch.nn.functional.cross_entropy(self.net(images), digits).backward()
        before = time.perf_counter()
        self.stepper.step()
        self.seconds_stepping.append(time.perf_counter() - before)
        self.schedule.step()
        self.seconds.append(time.perf_counter() - start)

    def line(self, images: Any, digits: Any) -> str:
        """Accuracy and median times."""
        with torch.no_grad():
            right = self.net(images).argmax(1) == digits
        times = [1e3 * statistics.median(each) for each in (self.seconds_stepping, self.seconds)]
        return f"{self.name:20} {right.float().mean():8.3f} {times[0]:10.3f} {times[1]:10.3f}"


def main() -> None:
    """Train both, a batch in turn, and print the table."""
    images, digits = load_digits(return_X_y=True)
    split = train_test_split(images / 16, digits, stratify=digits, random_state=0)
    train_x, test_x = (torch.tensor(each, dtype=torch.float32) for each in split[:2])
    train_y, test_y = (torch.tensor(each) for each in split[2:])
    batches = len(train_x) // BATCH
    runs = [Run.begin("torch", Theirs, batches), Run.begin("gradmill", Ours, batches)]
    order = torch.Generator().manual_seed(1)
    for _ in range(EPOCHS):
        rows = torch.randperm(len(train_x), generator=order)[: batches * BATCH].view(batches, BATCH)
        for batch in rows:
            for run in runs:
                run.train(train_x[batch], train_y[batch])
    print(f"{'':20} {'accuracy':>8} {'ms a step':>10} {'ms in all':>10}")
    for run in runs:
        print(run.line(test_x, test_y))


if __name__ == "__main__":
    main()
