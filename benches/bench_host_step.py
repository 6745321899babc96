"""What a step on the host costs a jitted program, against optax inside of it.

Both train the same parameters with AdamW on the gradient of a quadratic loss; optax has its buffers
donated. On a CPU the callback's copies are all that is measured; a device adds its transfers.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import _machine
import _report
import gradmill as gm
from _contenders import Contender
from _measure import Effort, measure

try:
    import jax
    import jax.numpy as jnp
    import optax

    from gradmill.jax import host_step
except ImportError as error:
    sys.exit(f"{error}; install what this needs with: pip install 'gradmill[optax]'")

if TYPE_CHECKING:
    from _settings import Step

SIZES = [10_000, 1_000_000, 10_000_000]
RATE, DECAY = 1e-3, 1e-4
EFFORT = Effort(least=9, most=101, seconds=10.0)
OPTAX, HOST, IN_PLACE = "optax in jit, donated", "host_step in jit", "gradmill in place alone"


def loss(params: Any) -> Any:
    """A loss whose gradient is the parameters."""
    return jnp.sum(params**2) / 2


class OnDevice:
    """The step of optax, in a program that overwrites its parameters and state."""

    def __init__(self, params: Any) -> None:
        tx = optax.adamw(RATE, weight_decay=DECAY)
        self.params = jnp.array(params)
        self.state = tx.init(self.params)

        def train(params: Any, state: Any) -> Any:
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        self.train = jax.jit(train, donate_argnums=(0, 1))

    def __call__(self) -> None:
        """Take a step and wait for it."""
        self.params, self.state = self.train(self.params, self.state)
        self.params.block_until_ready()


class OnHost:
    """The same with the step on the host."""

    def __init__(self, params: Any) -> None:
        step = host_step(gm.adamw(RATE, weight_decay=DECAY))
        self.params = step.init(jnp.array(params))
        self.train = jax.jit(lambda params: step(jax.grad(loss)(params)))

    def __call__(self) -> None:
        """Take a step and wait for it."""
        self.params = self.train(self.params)
        self.params.block_until_ready()


def contenders(size: int) -> list[Contender]:
    """All contenders, after a step each that must agree."""
    params = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    on_device, on_host = OnDevice(params), OnHost(params)
    on_device()
    on_host()
    np.testing.assert_allclose(on_host.params, on_device.params, rtol=1e-5, atol=1e-6)
    opt = gm.Optimizer(gm.adamw(RATE, weight_decay=DECAY), params)
    steps: dict[str, Step] = {
        OPTAX: on_device,
        HOST: on_host,
        IN_PLACE: partial(opt.step, params.copy()),
    }
    return [Contender(name, step, list) for name, step in steps.items()]


def main() -> None:
    """Measure and print."""
    print(_report.head(_machine.facts()), flush=True)
    for size in SIZES:
        timings = measure(contenders(size), EFFORT)
        found = [f"{name} {_report.duration(timing.median)}" for name, timing in timings.items()]
        ratio = timings[HOST].ratio
        print(f"{size:,} parameters: {', '.join(found)}; host_step is {ratio:.1f} times optax")


if __name__ == "__main__":
    main()
