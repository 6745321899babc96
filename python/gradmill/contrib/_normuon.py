from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.trees import flatten
from gradmill._ops.common import average, over, root, total
from gradmill._run.fused import by_tree
from gradmill.contrib._matrices import each_matrix, labels_of
from gradmill.contrib._muon import STANDARD, preset, scale_by_muon
from gradmill.contrib._numbers import decay
from gradmill.optimizers import adamw
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._masking import partition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import DTypeLike

    from gradmill._data.types import Mask, PyTree, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs
    from gradmill.contrib._matrices import Axes, Matrices
    from gradmill.contrib._muon import Coefficients
    from gradmill.contrib._newton_schulz import Preconditioning


class NorMuonState(NamedTuple):
    """The state of the part of :func:`scale_by_normuon` that looks at neurons.

    Attributes:
        nu: Mean squares, a tree like the parameters of arrays of shape (matrices, 1, columns).

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.scale_by_normuon().init(np.zeros((2, 3)))[1].nu
        array([[[0., 0., 0.]]])
    """

    nu: Any


def _init(xp: Any, params: PyTree, *, axes: Axes, **_: Any) -> NorMuonState:
    def zeros(leaf: Any, matrices: Matrices) -> Any:
        number, _, columns = matrices.sizes
        return xp.zeros((number, 1, columns), leaf.dtype)

    return NorMuonState(each_matrix("scale_by_normuon", axes, params, zeros))


def _scale_by_normuon(
    xp: Any,
    updates: PyTree,
    state: NorMuonState,
    params: PyTree | None,  # noqa: ARG001  (formulas of trees have one signature)
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    axes: Axes,
    b2: float,
    eps: float,
    consistent_rms: float,
) -> tuple[PyTree, NorMuonState]:
    old = iter([leaf for leaf in flatten(state.nu)[0] if leaf is not None])

    def second(leaf: Any, matrices: Matrices) -> Any:
        x = matrices.of(xp, leaf)
        mean = total(xp, x * x, 1)[:, None] / max(matrices.sizes[1], 1)
        return average(b2, next(old), xp.asarray(mean, leaf.dtype))

    nu = each_matrix("scale_by_normuon", axes, updates, second)
    new = iter([leaf for leaf in flatten(nu)[0] if leaf is not None])

    def normal(leaf: Any, matrices: Matrices) -> Any:
        x = matrices.of(xp, leaf) / root(xp, next(new), 0.0, eps)
        _, rows, columns = matrices.sizes
        squares = total(xp, x * x, (1, 2))[:, None, None]
        size = xp.asarray(xp.sqrt(squares), leaf.dtype)
        x = consistent_rms * math.sqrt(rows * columns) * over(xp, x, size)
        return matrices.back(xp, x, leaf.shape)

    return each_matrix("scale_by_normuon", axes, updates, normal), NorMuonState(nu)


@recorded
def scale_by_normuon(
    ns_coeffs: Coefficients = STANDARD,
    ns_steps: int = 5,
    beta: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    preconditioning: Preconditioning = "frobenius",
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
    consistent_rms: float = 0.2,
) -> GradientTransformationExtraArgs:
    r"""Orthogonalize momentum, then divide each neuron's part by its recent size.

    .. math::
        O = \operatorname{Muon}(g), \qquad
        v_j' = \beta_2 v_j + (1 - \beta_2) \operatorname{mean}_i(O_{ij}^2), \qquad
        \hat O_{ij} = \frac{O_{ij}}{\sqrt{v_j'} + \epsilon}, \qquad
        u = r \sqrt{m n} \, \frac{\hat O}{\lVert \hat O \rVert}

    for a matrix of :math:`m` rows and :math:`n` columns, with one column per output of a layer: a
    neuron. Muon's updates have equal singular values, but their columns have unequal norms, so some
    neurons dominate. Here they all move alike, at the cost of one number each.

    Args:
        ns_coeffs: The coefficients of the iterations, as for :func:`scale_by_muon`.
        ns_steps: The number of iterations.
        beta: How much of momentum each step keeps, in [0, 1). 0.95 spans 20 steps.
        b2: How much of each neuron's running mean square each step keeps, :math:`\beta_2`. In [0,
            1).
        eps: Added to roots and norms, not negative.
        mu_dtype: The dtype in which momentum is stored. bfloat16 saves two bytes a parameter. None
            for the parameters' own dtype (float32 where that is 16 bits wide).
        nesterov: Whether to use Nesterov momentum, as the authors' code does and the paper does
            not.
        preconditioning: As for :func:`scale_by_muon`.
        weight_dimension_numbers: A :class:`MuonDimensionNumbers` for each leaf with more than two
            axes, as for :func:`scale_by_muon`. Kernels with a row for each neuron, as PyTorch has
            them, need it as well: ``MuonDimensionNumbers(1, 0)``.
        consistent_rms: The root mean square :math:`r` of each update, not negative; 0.2 is about
            Adam's.

    Returns:
        A chain with the states :class:`MuonState` and :class:`NorMuonState`. It runs on NumPy.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN, ``ns_coeffs`` has the wrong shape, or
            ``preconditioning`` is unknown.
        LeafValueError: A leaf is not a matrix, and nothing says which of its axes are rows and
            columns.
        TreeError: ``weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_normuon()
        >>> grads = np.array([[3.0, 1.0, 0.1], [1.0, -2.0, 0.2]])
        >>> updates, _ = tx.update(grads, tx.init(grads))
        >>> np.sqrt((updates**2).mean(axis=0)).round(6)
        array([0.2, 0.2, 0.2])

    References:
        Li et al., `NorMuon: Making Muon more efficient and scalable
        <https://arxiv.org/abs/2510.05491>`_, 2025.
    """
    hyper = {
        "axes": weight_dimension_numbers,
        "b2": decay("b2", b2),
        "eps": real("eps", eps, at_least=0),
        "consistent_rms": real("consistent_rms", consistent_rms, at_least=0),
    }
    return chain(
        scale_by_muon(
            ns_coeffs,
            ns_steps,
            beta,
            eps,
            mu_dtype,
            nesterov=nesterov,
            preconditioning=preconditioning,
            weight_dimension_numbers=weight_dimension_numbers,
        ),
        by_tree(_init, _scale_by_normuon, hyper, ("nu",)),
    )


@recorded
def normuon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: Coefficients | str = STANDARD,
    ns_steps: int = 5,
    beta: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: float = 0.9,
    adam_b2: float = 0.999,
    adam_eps_root: float = 0.0,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
    consistent_rms: float = 0.2,
) -> GradientTransformationExtraArgs:
    """NorMuon for matrices, AdamW for all other parameters.

    Matrices get :func:`scale_by_normuon`, :func:`gradmill.add_decayed_weights` and
    :func:`gradmill.scale_by_learning_rate`. Updates are as large as Adam's, so one learning rate
    may do for both. :func:`muon` is the same without the normalization of neurons.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        ns_coeffs: The coefficients, as for :func:`scale_by_muon`, or ``"standard"`` or ``"dion"``.
        ns_steps: The number of iterations.
        beta: How much of momentum each step keeps, in [0, 1). 0.95 spans 20 steps.
        b2: How much of each neuron's running mean square each step keeps. In [0, 1).
        eps: Added to roots and norms of matrices, and in Adam outside the root.
        weight_decay: How strongly matrices are pulled towards zero, a number or a schedule, as in
            :func:`gradmill.adamw`.
        weight_decay_mask: Which of them decay, as for :func:`gradmill.add_decayed_weights`.
        mu_dtype: The dtype of momentum and of Adam's first moments, as for :func:`scale_by_muon`.
        nesterov: Whether to use Nesterov momentum, for the matrices and in Adam.
        preconditioning: As for :func:`scale_by_muon`.
        adam_b1: ``b1`` of Adam, for the other parameters.
        adam_b2: ``b2`` of Adam, for the other parameters.
        adam_eps_root: Added inside the root. Usually 0; a small value keeps the derivative of the
            step finite, for meta-learning.
        adam_weight_decay: The weight decay of the parameters that Adam updates, a number or a
            schedule.
        adam_learning_rate: The learning rate of the parameters that Adam updates; None for the same
            one.
        weight_dimension_numbers: A tree with a :class:`MuonDimensionNumbers` for each matrix, of
            two axes or more, and None for each other parameter; or a function of the parameters
            that returns one. None for all parameters with two axes.
        consistent_rms: The root mean square of each matrix's update, not negative.

    Returns:
        A partition into the labels "normuon" and "adam", with state
        :class:`gradmill.PartitionState`. Its ``update`` needs ``params``. The first part runs on
        NumPy, the second natively.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN, or a preset or ``preconditioning`` is unknown.
        LeafValueError: A leaf cannot be split into matrices.
        TreeError: ``weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = {"w": np.zeros((2, 2)), "b": np.zeros(2)}
        >>> opt = gm.Optimizer(gm.contrib.normuon(0.1), params)
        >>> _ = opt.step({"w": np.array([[3.0, 1.0], [0.0, 2.0]]), "b": np.ones(2)})
        >>> np.sqrt((params["w"] ** 2).mean(axis=0)).round(6), params["b"].round(3)
        (array([0.02, 0.02]), array([-0.1, -0.1]))

    References:
        Li et al., `NorMuon: Making Muon more efficient and scalable
        <https://arxiv.org/abs/2510.05491>`_, 2025.
    """
    axes = weight_dimension_numbers
    matrices = chain(
        scale_by_normuon(
            preset(ns_coeffs),
            ns_steps,
            beta,
            b2,
            eps,
            mu_dtype,
            nesterov=nesterov,
            preconditioning=preconditioning,
            weight_dimension_numbers=axes,
            consistent_rms=consistent_rms,
        ),
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
    return partition({"normuon": matrices, "adam": others}, partial(labels_of, "normuon", axes))
