"""The optimizers of evolution strategies: OpenAI's starter, programs made of it, estool, pgpelib.

Their calls and attributes, with steps in one pass. It needs no other package.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill.adapters._steps import Native, adam_by_rate, chain_of, rate
from gradmill.transforms import ScaleByClipUpState, ema, identity, scale_by_clip_up
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import TransformationLike

    Array = np.ndarray[Any, Any]


class _Optimizer(Native):
    """A vector, wherever it is kept, and the ratio of a step to it.

    Vectors that are handed out are kept by others, so each step makes a new one.
    """

    _moved: Array | None = None
    _derived = frozenset({*Native._derived, "_moved"})

    def __init__(self, pi: Any, stepsize: float, maximize: bool) -> None:
        if isinstance(pi, np.ndarray):
            self.theta, self.pi = pi, None
        else:
            self.pi = pi
        self._has_mu = hasattr(pi, "mu")
        self.dim = len(pi) if self.pi is None else pi.num_params
        self.stepsize = stepsize
        self.maximize = maximize
        self.epsilon = 1e-8
        self.t = 0

    def update(self, globalg: Array) -> Any:
        """Take a step.

        Args:
            globalg: The gradient to descend along, a vector.

        Returns:
            The length of the step over that of the vector. Where the optimizer was made of a
            vector, the new one as well.

        Raises:
            LeafValueError: The gradient is no vector of that length.
        """
        theta, step = self._get(), self._moved
        if step is None or (step.shape, step.dtype) != (theta.shape, theta.dtype):
            step = self._moved = np.empty_like(theta)
            self._bound = None  # the dtype of the state is that of the vector
        # A step from zero is what is to be added.
        step.fill(0)
        own, size = [step], self._rate(self.t + 1)
        self._steps(own)(own, [globalg], -size if self.maximize else size)
        self.t += 1
        ratio = self._ratio(step, theta)
        new = theta + step
        self._set(new)
        return (ratio, new) if self.pi is None else ratio

    def _get(self) -> Array:
        if self.pi is None:
            return self.theta
        theta: Array = self.pi.mu if self._has_mu else self.pi.get_trainable_flat()
        return theta

    def _set(self, new: Array) -> None:
        if self.pi is None:
            self.theta = new
        elif self._has_mu:
            self.pi.mu = new
        else:
            self.pi.set_trainable_flat(new)

    def _ratio(self, step: Array, theta: Array) -> float:
        length = _length(theta)
        if self._has_mu:
            length += self.epsilon
        return _length(step) / length if length else math.inf

    def _rate(self, t: int) -> float:
        """What step ``t`` multiplies with."""
        return self.stepsize

    def _like(self, *arrays: Array) -> list[list[Array]]:
        """State arrays, each a list, in the dtype of the vector."""
        dtype = self._get().dtype
        return [[array.astype(dtype, copy=False)] for array in arrays]


class BasicSGD(_Optimizer):
    """``theta - stepsize * globalg``, as in estool.

    Args:
        pi: A vector, or an object that holds one; see :class:`Adam`.
        stepsize: The learning rate.
        maximize: Whether to ascend.

    Attributes:
        stepsize: Assign to change it.
        t: Steps taken.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.evolution import BasicSGD
        >>> ratio, theta = BasicSGD(np.array([3.0, 4.0]), 0.5).update(np.array([0.0, 1.0]))
        >>> ratio, theta
        (0.1, array([3. , 3.5]))
    """

    def __init__(self, pi: Any, stepsize: float, *, maximize: bool = False) -> None:
        super().__init__(pi, stepsize, maximize)

    def _chain(self) -> tuple[Callable[..., TransformationLike], tuple[Any, ...]]:
        return _plain, ()

    def _slots(self) -> dict[str, list[Any]]:
        return {}

    def _take(self, slots: dict[str, list[Any]]) -> None:
        pass


class SGD(_Optimizer):
    """Gradient descent along a mean of gradients, ``v = momentum * v + (1 - momentum) * globalg``.

    Args:
        pi: A vector, or an object that holds one; see :class:`Adam`.
        stepsize: The learning rate.
        momentum: How much of the running mean each step keeps.
        maximize: Whether to ascend.

    Attributes:
        stepsize: Assign to change it.
        v: The average.
        t: Steps taken.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.evolution import SGD
        >>> ratio, theta = SGD(np.array([3.0, 4.0]), 1.0).update(np.array([0.0, 5.0]))
        >>> round(ratio, 6), theta
        (0.1, array([3. , 3.5]))
    """

    def __init__(
        self, pi: Any, stepsize: float, momentum: float = 0.9, *, maximize: bool = False
    ) -> None:
        super().__init__(pi, stepsize, maximize)
        self.momentum = momentum
        self.v = np.zeros(self.dim, np.float32)

    def _chain(self) -> tuple[Callable[..., TransformationLike], tuple[Any, ...]]:
        return _average, (self.momentum,)

    def _slots(self) -> dict[str, list[Any]]:
        [v] = self._like(self.v)
        return {"ema": v}

    def _own(self) -> list[Any]:
        return [self.v]

    def _take(self, slots: dict[str, list[Any]]) -> None:
        [self.v] = slots["ema"]


class Adam(_Optimizer):
    """Adam with epsilon added to the root of the uncorrected moment, as in these programs.

    Args:
        pi: What holds the vector: an object with ``num_params`` and ``mu``, as in estool, or with
            ``get_trainable_flat`` and ``set_trainable_flat``, as in OpenAI's starter. Or the vector
            itself, which is in ``theta`` from then on. Each step makes a new vector and writes to
            none that you passed in or got back, such as the best one so far.
        stepsize: The learning rate.
        beta1: How much of the running mean of gradients each step keeps; None for 0.9, or 0.99
            where ``mu`` is kept.
        beta2: Decay of the second moment.
        epsilon: Added to the root.
        maximize: Whether to ascend; gradients then need no negation.

    Attributes:
        stepsize: Assign to change it.
        m: The first moment.
        v: The second.
        t: Steps taken.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.evolution import Adam
        >>> optimizer = Adam(np.array([3.0, 4.0]), stepsize=0.5)
        >>> ratio, theta = optimizer.update(np.array([0.0, 1.0]))
        >>> round(ratio, 6), theta.round(6)
        (0.1, array([3. , 3.5]))
    """

    def __init__(
        self,
        pi: Any,
        stepsize: float,
        beta1: float | None = None,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(pi, stepsize, maximize)
        usual = 0.99 if hasattr(pi, "mu") else 0.9
        self.beta1 = usual if beta1 is None else beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.m = np.zeros(self.dim, np.float32)
        self.v = np.zeros(self.dim, np.float32)

    def _rate(self, t: int) -> float:
        return self.stepsize * math.sqrt(1 - self.beta2**t) / (1 - self.beta1**t)

    def _chain(self) -> tuple[Callable[..., TransformationLike], tuple[Any, ...]]:
        return adam_by_rate, (self.beta1, self.beta2, self.epsilon)

    def _slots(self) -> dict[str, list[Any]]:
        m, v = self._like(self.m, self.v)
        return {"mu": m, "nu": v}

    def _own(self) -> list[Any]:
        return [self.m, self.v]

    def _take(self, slots: dict[str, list[Any]]) -> None:
        [self.m], [self.v] = slots["mu"], slots["nu"]


class ClipUp:
    """Steps of bounded length, as pgpelib has them.

    PGPE makes its own by name, ``pgpelib.pgpe.ClipUp``, which may be this class.

    Args:
        solution_length: How many elements gradients have.
        dtype: The dtype of the velocity and of steps, which gradients are brought to.
        stepsize: The length that a gradient is brought to, above 0.
        momentum: The share of the last step.
        max_speed: The length that no step exceeds.
        fix_gradient_size: Whether gradients are brought to one length; else they are multiplied
            with ``stepsize`` alone.

    Attributes:
        stepsize: Assign to change it, as the other three.
        momentum: See above.
        max_speed: See above.
        fix_gradient_size: See above.
        dim: How many elements gradients have.
        dtype: The dtype.
        v: The velocity, of descent: steps are its negative.
        t: Steps taken.

    Raises:
        TypeError: ``stepsize``, ``momentum`` or ``max_speed`` is not a real number, which the
            first step finds.
        ValueError: It is out of bounds, which the first step finds.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.evolution import ClipUp
        >>> optimizer = ClipUp(solution_length=2, dtype="float64", stepsize=0.1)
        >>> optimizer.ascent(np.array([3.0, 4.0])).round(6)
        array([0.06, 0.08])
        >>> optimizer.ascent(np.array([3.0, 4.0])).round(6)
        array([0.09, 0.12])
    """

    def __init__(
        self,
        *,
        solution_length: int,
        dtype: Any,
        stepsize: float,
        momentum: float = 0.9,
        max_speed: float = 0.15,
        fix_gradient_size: bool = True,
    ) -> None:
        self.dim = solution_length
        self.dtype = np.dtype(dtype)
        self.stepsize = stepsize
        self.momentum = momentum
        self.max_speed = max_speed
        self.fix_gradient_size = fix_gradient_size
        self.v = np.zeros(solution_length, self.dtype)
        self.t = 0

    def ascent(self, globalg: Any) -> Array:
        """What to add to a vector, to go along its gradient; a new array.

        Args:
            globalg: The gradient, a vector. One of zeros leaves the momentum alone, where pgpelib's
                makes NaN.

        Raises:
            ValueError: It is no vector of ``dim`` elements.
        """
        down = -np.asarray(globalg, self.dtype)
        if down.shape != (self.dim,):
            raise ValueError(f"globalg: shape {down.shape}, expected ({self.dim},)")
        size = self.stepsize
        if not self.fix_gradient_size:
            # What a gradient of zeros is brought to makes no difference.
            size = size * _length(down) or size
        tx = chain_of(scale_by_clip_up, size, self.momentum, self.max_speed)
        step, state = tx.update(down, ScaleByClipUpState(self.v))
        self.v = state.velocity
        self.t += 1
        added: Array = -step
        return added


def _length(vector: Array) -> float:
    """As these programs have it, by BLAS."""
    return math.sqrt(float(np.dot(vector, vector)))


def _plain() -> TransformationLike:
    return chain(identity(), rate())


def _average(decay: float) -> TransformationLike:
    return chain(ema(decay, debias=False), rate())
