"""scikit-learn's multilayer perceptrons, with steps of this library's.

``from gradmill.adapters.sklearn import MLPClassifier`` takes the place of scikit-learn's own: the
same parameters, attributes and random numbers, and up to roundings the same weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradmill.adapters._steps import Native, adam_by_rate, rate
from gradmill.transforms import trace
from gradmill.transforms._chain import chain

try:
    from sklearn import neural_network as _networks
    from sklearn.neural_network import _stochastic_optimizers as _theirs
except ImportError as error:
    raise ImportError(
        f"{error}; gradmill.adapters.sklearn needs: pip install 'gradmill[sklearn]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._data.types import TransformationLike


def _momentum(decay: float, nesterov: bool) -> TransformationLike:
    return chain(rate(), trace(decay, nesterov))


class AdamOptimizer(Native, _theirs.AdamOptimizer):
    """The optimizer of :class:`MLPClassifier` with ``solver="adam"``.

    Unlike in :func:`gradmill.adam`, epsilon is added to the root of the uncorrected second moment.

    Args:
        params: The parameters, a list of float32 or float64 arrays.
        learning_rate_init: The learning rate.
        beta_1: Decay of the first moment.
        beta_2: Decay of the second moment.
        epsilon: Added to the root.

    Attributes:
        learning_rate: The rate of the last step, corrections included.
        t: Steps taken.
        ms: First moments, a list of arrays that steps overwrite.
        vs: Second moments.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.sklearn import AdamOptimizer
        >>> params = [np.array([1.0, 2.0])]
        >>> optimizer = AdamOptimizer(params, learning_rate_init=0.1)
        >>> optimizer.update_params(params, [np.array([1.0, -1.0])])
        >>> params[0].round(6)
        array([0.9, 2.1])
    """

    t: int

    def _chain(self) -> tuple[Callable[..., TransformationLike], tuple[Any, ...]]:
        return adam_by_rate, (self.beta_1, self.beta_2, self.epsilon)

    def _slots(self) -> dict[str, list[Any]]:
        return {"mu": self.ms, "nu": self.vs}

    def _own(self) -> list[Any]:
        return [*self.ms, *self.vs]

    def _take(self, slots: dict[str, list[Any]]) -> None:
        self.ms, self.vs = slots["mu"], slots["nu"]

    def update_params(self, params: Sequence[Any], grads: Sequence[Any]) -> None:
        """Take a step.

        Args:
            params: The arrays to overwrite.
            grads: Their gradients, a list of the same length.
        """
        t = self.t + 1
        corrections = math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        self._steps(params)(params, grads, self.learning_rate_init * corrections)
        self.t, self.learning_rate = t, self.learning_rate_init * corrections


class SGDOptimizer(Native, _theirs.SGDOptimizer):
    """The optimizer of :class:`MLPClassifier` with ``solver="sgd"``.

    The velocity contains the learning rates of its steps, so a new rate affects new gradients only.

    Args:
        params: The parameters, a list of float32 or float64 arrays.
        learning_rate_init: The initial learning rate.
        lr_schedule: "constant"; "invscaling", which decays with a power of the number of examples
            seen; or "adaptive", which divides the rate by 5 whenever training stops improving.
        momentum: How much of the velocity each step keeps.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        power_t: The power for "invscaling".

    Attributes:
        learning_rate: The rate of the next step.
        velocities: A list of arrays that steps overwrite.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.sklearn import SGDOptimizer
        >>> params = [np.array([1.0, 2.0])]
        >>> optimizer = SGDOptimizer(params, learning_rate_init=0.1, nesterov=False)
        >>> optimizer.update_params(params, [np.array([1.0, -1.0])])
        >>> params[0]
        array([0.9, 2.1])
    """

    def _chain(self) -> tuple[Callable[..., TransformationLike], tuple[Any, ...]]:
        return _momentum, (self.momentum, self.nesterov)

    def _slots(self) -> dict[str, list[Any]]:
        return {"trace": self.velocities}

    def _own(self) -> list[Any]:
        return self.velocities

    def _take(self, slots: dict[str, list[Any]]) -> None:
        self.velocities = slots["trace"]

    def update_params(self, params: Sequence[Any], grads: Sequence[Any]) -> None:
        """Take a step.

        Args:
            params: The arrays to overwrite.
            grads: Their gradients, a list of the same length.
        """
        self._steps(params)(params, grads, self.learning_rate)


class _Optimizer:
    """The attribute in which an estimator keeps its optimizer: it holds ours for theirs.

    scikit-learn assigns its own. One that comes with the attributes of an estimator of
    scikit-learn's goes on from there.
    """

    def __get__(self, estimator: Any, owner: type) -> Any:
        if estimator is None:
            return self
        try:
            found = vars(estimator)["_optimizer"]
        except KeyError:
            raise AttributeError("_optimizer: no steps have been fitted yet") from None
        ours: Any = _OURS.get(type(found))
        if ours is not None:
            theirs, found = found, ours.__new__(ours)
            vars(found).update(vars(theirs))
            vars(estimator)["_optimizer"] = found
        return found

    def __set__(self, estimator: Any, value: Any) -> None:
        vars(estimator)["_optimizer"] = value


_OURS = {
    _theirs.AdamOptimizer: AdamOptimizer,
    _theirs.SGDOptimizer: SGDOptimizer,
}


class MLPClassifier(_networks.MLPClassifier):
    """A multilayer perceptron for classification: scikit-learn's, with steps in one pass.

    Arguments, methods and attributes are those of ``sklearn.neural_network.MLPClassifier``.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.sklearn import MLPClassifier
        >>> x, y = np.array([[0.0], [1.0]]), np.array([0, 1])
        >>> network = MLPClassifier(hidden_layer_sizes=[4], random_state=0, max_iter=1500)
        >>> network.fit(x, y).predict(x)
        array([0, 1])
    """

    _optimizer = _Optimizer()


class MLPRegressor(_networks.MLPRegressor):
    """A multilayer perceptron for regression: scikit-learn's, with steps in one pass.

    Arguments, methods and attributes are those of ``sklearn.neural_network.MLPRegressor``.

    Example:
        >>> import numpy as np
        >>> from gradmill.adapters.sklearn import MLPRegressor
        >>> x, y = np.array([[0.0], [1.0]]), np.array([0.0, 1.0])
        >>> network = MLPRegressor(hidden_layer_sizes=[9], random_state=0, max_iter=1500)
        >>> network.fit(x, y).score(x, y) > 0.9
        True
    """

    _optimizer = _Optimizer()
