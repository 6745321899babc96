from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import _core
from gradmill._data.checks import real
from gradmill._data.keys import words_given
from gradmill._data.numbers import HOST
from gradmill._data.recorded import recorded
from gradmill._ops import noise as ops
from gradmill._plan.control import Context, Control, FieldError, Plan
from gradmill._plan.scalars import next_count
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.errors import LeafTypeError, LeafValueError

if TYPE_CHECKING:
    from gradmill._data.types import PyTree
    from gradmill._run.transformation import GradientTransformation


class AddNoiseState(NamedTuple):
    """The state of :func:`add_noise`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        rng_key: The key of the next random numbers, an array of two uint32.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.add_noise(0.01, 0.55, seed=7).init(np.zeros(2))
        AddNoiseState(count=array(0, dtype=int32), rng_key=array([0, 7], dtype=uint32))
    """

    count: Any
    rng_key: Any


class _Noise(Control):
    counts = ("count",)

    def __init__(self, eta: float, gamma: float, key: tuple[int, int]) -> None:
        self.eta = eta
        self.gamma = gamma
        self.key = key

    def init(self, params: PyTree) -> dict[str, Any]:
        return {"count": np.zeros((), np.int32), "rng_key": np.array(self.key, np.uint32)}

    def plan(self, state: Any, context: Context) -> Plan:
        on_host = context.xp is HOST
        sample, following = (_split if on_host else _split_in_jax)(state.rng_key)
        std = context.xp.sqrt(self.eta / next_count(state.count) ** self.gamma)
        return Plan((std, sample[0], sample[1]), carry=following)

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        return {"count": next_count(state.count), "rng_key": plan.carry}


def _split(key: Any) -> tuple[Any, Any]:
    """The two words of a key to draw with, and the key of the next step."""
    words = _words_of(key)
    return _core.split_key(words, 1), np.array(_core.split_key(words, 0), np.uint32)


def _split_in_jax(key: Any) -> tuple[Any, Any]:
    """The key to draw with and that of the next step, of a key of JAX, typed or not."""
    from jax import dtypes, random  # noqa: PLC0415  (who has such a key has imported JAX)

    is_typed = dtypes.issubdtype(key.dtype, dtypes.prng_key)
    typed = key if is_typed else random.wrap_key_data(key, impl="threefry2x32")
    following, sample = random.split(typed)
    return random.key_data(sample), following if is_typed else random.key_data(following)


def _words_of(key: Any) -> tuple[int, int]:
    """The two words of the key in a state."""
    words = np.asarray(key)
    if words.shape != (2,) or words.dtype.kind not in "iu":
        raise FieldError("rng_key", f"{key!r:.60} is not a pair of integers", LeafTypeError)
    first, second = map(int, words)
    if not (0 <= first < 2**32 and 0 <= second < 2**32):
        raise FieldError("rng_key", f"{key!r:.60} is not made of 32-bit words", LeafValueError)
    return first, second


_FORMS = ": add_noise(eta, gamma, seed) or add_noise(eta, gamma, key)"


@recorded
def add_noise(
    eta: float, gamma: float, key: Any = None, *, seed: Any = None
) -> GradientTransformation:
    r"""Add normally distributed noise whose variance fades over time.

    .. math:: u' = u + z \sqrt{\eta / t^\gamma}, \qquad z \sim \mathcal N(0, 1), \quad t = 1, 2, …

    For the same seed, the noise is that of ``jax.random`` (threefry) to within a few roundings. It
    depends only on the seed, the step, and the positions of the leaf and the element: not on
    threads, nor on other transformations. Call it as ``add_noise(eta, gamma, seed)`` (the
    specification's form) or ``add_noise(eta, gamma, key)`` (optax's).

    Args:
        eta: The variance :math:`\eta` of the noise in the first step.
        gamma: How fast the variance fades, :math:`\gamma`. The paper uses 0.55.
        key: An integer seed, of which the low 32 bits count as in JAX without its 64-bit mode; a
            key of two uint32 or of JAX; or a NumPy ``Generator`` or ``SeedSequence`` to draw one
            from. None for the seed 0.
        seed: ``key`` by another name.

    Returns:
        A transformation with state :class:`AddNoiseState`.

    Raises:
        TypeError: A hyperparameter is not a real number, or ``key`` is not one of these.
        ValueError: Both ``key`` and ``seed`` are given, or ``eta`` is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.add_noise(0.01, 0.55, seed=0)
        >>> state = tx.init(np.zeros(3))
        >>> noise, _ = tx.update(np.zeros(3), state)
        >>> bool((noise == tx.update(np.zeros(3), state)[0]).all())
        True

    References:
        Neelakantan et al., `Adding Gradient Noise Improves Learning for Very Deep Networks
        <https://arxiv.org/abs/1511.06807>`_, 2015; Salmon et al., `Parallel random numbers: as easy
        as 1, 2, 3 <https://doi.org/10.1145/2063384.2063405>`_, 2011, for the generator.
    """
    words = words_given(key, seed, "add_noise", _FORMS)
    control = _Noise(real("eta", eta, at_least=0), real("gamma", gamma), words)
    return native(Spec(ops.add_noise, AddNoiseState, control=control))
