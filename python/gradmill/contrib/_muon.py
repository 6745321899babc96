from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradmill import tree
from gradmill._data.arrays import widest
from gradmill._data.checks import float_dtype, is_integer, number_of, real
from gradmill._data.numbers import integer
from gradmill._data.recorded import recorded
from gradmill._data.trees import flatten
from gradmill._data.types import EmptyState
from gradmill._ops.common import average, correction
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._matrices import each_matrix, labels_of
from gradmill.contrib._newton_schulz import orthogonal_of
from gradmill.contrib._numbers import decay, zero_count
from gradmill.optimizers import adamw
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._masking import partition
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import DTypeLike

    from gradmill._data.types import Mask, PyTree, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs
    from gradmill.contrib._matrices import Axes, Matrices
    from gradmill.contrib._newton_schulz import Preconditioning

Coefficients: TypeAlias = "tuple[float, float, float] | tuple[tuple[float, float, float], ...]"

STANDARD = (3.4445, -4.7750, 2.0315)
_PRESETS: dict[str, Coefficients] = {
    "standard": STANDARD,
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}
_PRECONDITIONINGS = ("frobenius", "spectral", "aol", "schatten")


class MuonState(NamedTuple):
    """The state of :func:`scale_by_muon`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: Momentum, a tree like the parameters.
        ns_coeffs: The coefficients of the iterations, one row for all of them or one for each.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.scale_by_muon().init(np.zeros((1, 2))).mu
        array([[0., 0.]])
    """

    count: Any
    mu: Any
    ns_coeffs: Any


def _init(
    xp: Any, params: PyTree, *, ns_coeffs: Coefficients, mu_dtype: Any, **_: Any
) -> MuonState:
    dtype = widest(flatten(params)[0])
    mu = tree.zeros_like(params, mu_dtype)
    return MuonState(zero_count(xp), mu, xp.asarray(ns_coeffs, dtype))


def _scale_by_muon(
    xp: Any,
    updates: PyTree,
    state: MuonState,
    params: PyTree | None,  # noqa: ARG001  (formulas of trees have one signature)
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    ns_steps: int,
    beta: float,
    eps: float,
    nesterov: bool,
    adaptive: bool,
    preconditioning: Preconditioning,
    axes: Axes,
    **_: Any,
) -> tuple[PyTree, MuonState]:
    count = integer(state.count)
    mu = tree.update_moment(updates, state.mu, beta, 1)
    now, later = (correction(beta, count + steps) for steps in (1.0, 2.0))

    def ahead(_: Any, m: Any, g: Any, now: Any, later: Any) -> Any:
        return average(beta, m / later, g / now) if nesterov else m / now

    momentum = mapped("scale_by_muon", ahead, {"mu": mu, "updates": updates}, (now, later))

    def orthogonal(leaf: Any, matrices: Matrices) -> Any:
        x = orthogonal_of(
            xp, matrices.of(xp, leaf), state.ns_coeffs, ns_steps, preconditioning, eps
        )
        made = matrices.back(xp, x, leaf.shape)
        return xp.sum(leaf * made) * made if adaptive else made

    new = each_matrix("scale_by_muon", axes, momentum, orthogonal)
    return new, state._replace(count=next_count(state.count), mu=mu)


@recorded
def scale_by_muon(
    ns_coeffs: Coefficients = STANDARD,
    ns_steps: int = 5,
    beta: float = 0.95,
    eps: float = 1e-8,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> GradientTransformationExtraArgs:
    r"""Orthogonalize the momentum of matrices: all its singular values come close to one.

    .. math::
        m' = \beta m + (1 - \beta) g, \qquad
        X_0 = \hat m / \|\hat m\|, \qquad
        X_{k + 1} = a X_k + (b X_k X_k^\top + c (X_k X_k^\top)^2) X_k, \qquad
        u = X_n

    :math:`\hat m` is the bias-corrected momentum, one step ahead with Nesterov. Every direction of
    a matrix then moves by the same amount. Use it for the hidden layers of a network; :func:`muon`
    leaves everything else to AdamW.

    Args:
        ns_coeffs: The coefficients :math:`(a, b, c)` of all iterations, or a row for each.
        ns_steps: The number :math:`n` of iterations; where there are rows, at least as many.
        beta: How much of momentum each step keeps, :math:`\beta`, in [0, 1). 0.95 spans 20 steps.
        eps: Added to the norm, not negative.
        mu_dtype: The dtype in which momentum is stored. bfloat16 saves two bytes a parameter. None
            for the parameters' own dtype (float32 where that is 16 bits wide).
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        adaptive: Whether to multiply updates by their inner product with momentum.
        preconditioning: What makes singular values at most one: ``"frobenius"`` for a division by
            the norm of all elements; ``"spectral"`` by the largest singular value, which is slow;
            ``"aol"`` by sums over the rows of the first :math:`X X^\top`, and ``"schatten"`` by its
            norm: larger values at first, so that fewer iterations do.
        weight_dimension_numbers: A :class:`MuonDimensionNumbers` for each leaf with more than two
            axes: a tree with the structure of the parameters or of its upper part, or a function of
            the updates that returns one. None where all are matrices.

    Returns:
        A transformation with state :class:`MuonState`. It runs on NumPy: products of matrices are
        those of its BLAS, and depend on that in their last bits.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN, ``ns_coeffs`` has the wrong shape, or
            ``preconditioning`` is unknown.
        LeafValueError: From ``update``: a leaf is not a matrix, and nothing says which of its axes
            are rows and columns.
        TreeError: From ``update``: ``weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_muon()
        >>> grads = np.array([[100.0, 0.0], [0.0, -1.0]])
        >>> updates, _ = tx.update(grads, tx.init(grads))
        >>> bool((abs(abs(np.diag(updates)) - 1) < 0.4).all())
        True

    References:
        Jordan et al., `Muon: An optimizer for hidden layers in neural networks
        <https://kellerjordan.github.io/posts/muon/>`_, 2024.
    """
    if preconditioning not in _PRECONDITIONINGS:
        names = ", ".join(_PRECONDITIONINGS)
        raise ValueError(f"preconditioning must be one of {names}, got {preconditioning!r:.80}")
    if not is_integer(ns_steps):
        raise TypeError(f"ns_steps must be an integer, got {ns_steps!r:.80}")
    real("ns_steps", ns_steps, at_least=0)
    hyper = {
        "ns_coeffs": _rows("ns_coeffs", ns_coeffs, number_of(ns_steps)),
        "ns_steps": number_of(ns_steps),
        "beta": decay("beta", beta),
        "eps": real("eps", eps, at_least=0),
        "mu_dtype": float_dtype("mu_dtype", mu_dtype),
        "nesterov": nesterov,
        "adaptive": adaptive,
        "preconditioning": preconditioning,
        "axes": weight_dimension_numbers,
    }
    return by_tree(_init, _scale_by_muon, hyper, ("mu",))


def _rows(name: str, coeffs: Any, steps: int) -> Coefficients:
    array = np.asarray(coeffs, float)
    if array.ndim not in (1, 2) or array.shape[-1] != 3:
        raise ValueError(f"{name} must have shape (3,) or (n, 3), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    if array.ndim == 2 and len(array) > steps:
        raise ValueError(f"{name} has {len(array)} rows, and ns_steps is {steps}")
    if array.ndim == 1:
        first, second, third = array.tolist()
        return first, second, third
    return tuple((first, second, third) for first, second, third in array.tolist())


def preset(ns_coeffs: Coefficients | str) -> Coefficients:
    """Coefficients by their name, or as they are.

    Raises:
        ValueError: The name is unknown.
    """
    if not isinstance(ns_coeffs, str):
        return ns_coeffs
    if ns_coeffs not in _PRESETS:
        raise ValueError(f"ns_coeffs must be one of {', '.join(_PRESETS)}, got {ns_coeffs!r}")
    return _PRESETS[ns_coeffs]


def _stateless(xp: Any, params: PyTree, **_: Any) -> EmptyState:  # noqa: ARG001  (formulas of trees have one signature)
    return EmptyState()


def _scale_by_shape(
    xp: Any,  # noqa: ARG001  (formulas of trees have one signature)
    updates: PyTree,
    state: EmptyState,
    params: PyTree | None,  # noqa: ARG001  (formulas of trees have one signature)
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    axes: Axes,
    consistent_rms: float | None,
) -> tuple[PyTree, EmptyState]:
    def scaled(leaf: Any, matrices: Matrices) -> Any:
        _, rows, columns = matrices.sizes
        if consistent_rms is not None:
            return math.sqrt(max(rows, columns)) * consistent_rms * leaf
        return math.sqrt(max(1.0, columns / max(rows, 1))) * leaf

    return each_matrix("scale_by_shape", axes, updates, scaled), state


@recorded
def muon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: Coefficients | str = STANDARD,
    ns_steps: int = 5,
    beta: float = 0.95,
    eps: float = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: float = 0.9,
    adam_b2: float = 0.999,
    adam_eps_root: float = 0.0,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
    consistent_rms: float | None = None,
) -> GradientTransformationExtraArgs:
    r"""Muon for matrices, AdamW for all other parameters.

    Matrices get :func:`scale_by_muon`, then a factor of :math:`\sqrt{\max(1, n / m)}` for :math:`m`
    rows and :math:`n` columns, then :func:`add_decayed_weights` and :func:`scale_by_learning_rate`.
    Pick it for the hidden layers of transformers and other large networks. Leave embeddings and
    output layers to Adam: name the matrices in ``muon_weight_dimension_numbers``.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        ns_coeffs: The coefficients, as for :func:`scale_by_muon`, or ``"standard"`` or ``"dion"``.
        ns_steps: The number of iterations.
        beta: How much of momentum each step keeps, in [0, 1). 0.95 spans 20 steps.
        eps: Added to norms of matrices, and in Adam outside the root.
        weight_decay: How strongly matrices are pulled towards zero, a number or a schedule, as in
            :func:`gradmill.adamw`.
        weight_decay_mask: Which of them decay, as for :func:`add_decayed_weights`.
        mu_dtype: The dtype of momentum and of Adam's first moments, as for :func:`scale_by_muon`.
        nesterov: Whether to use Nesterov momentum, for the matrices and in Adam.
        adaptive: Whether to multiply updates by their inner product with momentum.
        preconditioning: As for :func:`scale_by_muon`.
        adam_b1: ``b1`` of Adam, for the other parameters.
        adam_b2: ``b2`` of Adam, for the other parameters.
        adam_eps_root: Added inside the root. Usually 0; a small value keeps the derivative of the
            step finite, for meta-learning.
        adam_weight_decay: The weight decay of the parameters that Adam updates, a number or a
            schedule.
        adam_learning_rate: The learning rate of the parameters that Adam updates; None for the same
            one.
        muon_weight_dimension_numbers: A tree with a :class:`MuonDimensionNumbers` for each matrix,
            of two axes or more, and None for each other parameter; or a function of the parameters
            that returns one. None for all parameters with two axes.
        consistent_rms: A number :math:`r` for a factor of :math:`r \sqrt{\max(m, n)}` instead, so
            that updates are as large as Adam's; 0.2 is usual.

    Returns:
        A partition into the labels "muon" and "adam", with state :class:`gradmill.PartitionState`.
        Its ``update`` needs ``params``. The first part runs on NumPy, the second natively.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN, or a preset or ``preconditioning`` is unknown.
        LeafValueError: From ``update``: a leaf cannot be seen as matrices.
        TreeError: ``muon_weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = {"w": np.zeros((2, 2)), "b": np.zeros(2)}
        >>> opt = gm.Optimizer(gm.contrib.muon(0.1, nesterov=False), params)
        >>> _ = opt.step({"w": np.array([[3.0, 1.0], [0.0, 2.0]]), "b": np.ones(2)})
        >>> values = np.linalg.svd(params["w"], compute_uv=False)
        >>> bool((values > 0.06).all() and (values < 0.13).all()), params["b"].round(3)
        (True, array([-0.1, -0.1]))

    References:
        Jordan et al., `Muon: An optimizer for hidden layers in neural networks
        <https://kellerjordan.github.io/posts/muon/>`_, 2024; Liu et al., `Muon is Scalable for LLM
        Training <https://arxiv.org/abs/2502.16982>`_, 2025.
    """
    axes = muon_weight_dimension_numbers
    factor = None if consistent_rms is None else real("consistent_rms", consistent_rms)
    matrices = chain(
        scale_by_muon(
            preset(ns_coeffs),
            ns_steps,
            beta,
            eps,
            mu_dtype,
            nesterov=nesterov,
            adaptive=adaptive,
            preconditioning=preconditioning,
            weight_dimension_numbers=axes,
        ),
        by_tree(_stateless, _scale_by_shape, {"axes": axes, "consistent_rms": factor}),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    others = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_b1,
        adam_b2,
        eps,
        adam_eps_root,
        mu_dtype,
        adam_weight_decay,
        nesterov=nesterov,
    )
    return partition({"muon": matrices, "adam": others}, partial(labels_of, "muon", axes))
