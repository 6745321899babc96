from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.recorded import recorded
from gradmill._data.types import is_transformation
from gradmill._run.fused import by_tree
from gradmill.contrib._branches import either, kept
from gradmill.contrib._numbers import copy_of, zero_count
from gradmill.transforms._stateless import with_extra_args_support
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._run.transformation import GradientTransformationExtraArgs


class SAMState(NamedTuple):
    """The state of :func:`sam`.

    Attributes:
        steps_since_sync: Steps taken in this round, a 0-d int32 array.
        opt_state: The state of the optimizer.
        adv_state: The state of the adversary.
        cache: The parameters at the beginning of the round; None in opaque mode.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.sam(gm.sgd(0.1), gm.sgd(0.05)).init(np.ones(2)).cache
        array([1., 1.])
    """

    steps_since_sync: Any
    opt_state: Any
    adv_state: Any
    cache: Any


def _init(
    xp: Any,
    params: PyTree,
    *,
    optimizer: TransformationLike,
    adversary: TransformationLike,
    is_opaque: bool = False,
    **_: Any,
) -> SAMState:
    return SAMState(
        steps_since_sync=zero_count(xp),
        opt_state=optimizer.init(params),
        adv_state=adversary.init(params),
        cache=None if is_opaque else copy_of(params),
    )


def _init_opaque(xp: Any, params: PyTree, **hyper: Any) -> SAMState:
    return _init(xp, params, **hyper, is_opaque=True)


def _sam(
    xp: Any,
    updates: PyTree,
    state: SAMState,
    params: PyTree,
    extra: Mapping[str, Any],
    *,
    optimizer: TransformationLike,
    adversary: TransformationLike,
    sync_period: int,
    resets: bool,
) -> tuple[PyTree, SAMState]:
    """Take one step of a round: away from the minimum, or the last one, from where it began."""
    inner = _for_inner(extra)
    is_first = state.steps_since_sync == 0
    cache = either(xp, is_first, lambda: copy_of(params), lambda: state.cache)

    def away() -> tuple[PyTree, Any, Any, Any]:
        moves, adv_state = adversary.update(updates, state.adv_state, params, **inner)
        opt_state = kept(xp, state.opt_state)
        return tree.scale(-1.0, moves), state.steps_since_sync + 1, opt_state, adv_state

    def back() -> tuple[PyTree, Any, Any, Any]:
        moves, opt_state = optimizer.update(updates, state.opt_state, cache, **inner)
        adv_state = adversary.init(params) if resets else kept(xp, state.adv_state)
        trees = {"cache": cache, "params": params, "updates": moves}
        ahead = mapped("sam", lambda _, start, p, u: start - p + u, trees)
        return ahead, state.steps_since_sync * 0, opt_state, adv_state

    is_last = state.steps_since_sync == sync_period - 1
    moved, steps, opt_state, adv_state = either(xp, is_last, back, away)
    return moved, SAMState(steps, opt_state, adv_state, cache)


def _opaque_sam(
    xp: Any,  # noqa: ARG001  (formulas of trees have one signature)
    updates: PyTree,
    state: SAMState,
    params: PyTree,
    extra: Mapping[str, Any],
    *,
    optimizer: TransformationLike,
    adversary: TransformationLike,
    sync_period: int,
    resets: bool,
) -> tuple[PyTree, SAMState]:
    """Take a whole round."""
    grad_fn = extra.get("grad_fn")
    if not callable(grad_fn):
        raise ValueError("sam in opaque mode needs a function: call update(..., grad_fn=grad_fn)")
    inner = _for_inner(extra)
    there, adv_state = params, state.adv_state
    for step in range(sync_period - 1):
        moves, adv_state = adversary.update(updates, adv_state, there, **inner)
        there = tree.sub(there, moves)
        updates = grad_fn(there, step)
    updates, opt_state = optimizer.update(updates, state.opt_state, params, **inner)
    adv_state = adversary.init(params) if resets else adv_state
    return updates, state._replace(opt_state=opt_state, adv_state=adv_state)


def _for_inner(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The extra arguments without that which is for the wrapper."""
    return {name: value for name, value in extra.items() if name != "grad_fn"}


@recorded
def sam(
    optimizer: TransformationLike,
    adv_optimizer: TransformationLike,
    sync_period: int = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> GradientTransformationExtraArgs:
    r"""SAM: take gradients where the loss nearby is high, to end up in a flat minimum.

    .. math:: \hat p = p - u_{\mathrm{adv}}(\nabla f(p)), \qquad p' = p + u(\nabla f(\hat p))

    A round is ``sync_period - 1`` steps of ascent, away from the minimum, and then one step of the
    optimizer from where the round began. Flat minima generalize better, at the cost of twice as
    many gradients.

    In the usual mode each of these steps is one update, and each needs the gradients at the
    parameters that the last one left. In opaque mode a round is a single update, which needs a
    function: ``update(grads, state, params, grad_fn=grad_fn)``. ``grad_fn(params, step)`` returns
    gradients at other parameters, with ``step`` from 0; these parameters are float32 at least.

    Args:
        optimizer: The optimizer that descends, such as ``gradmill.sgd(0.1)``.
        adv_optimizer: The optimizer of the ascent, written as if it descended:
            ``chain(contrib.normalize(), sgd(rho))`` for the algorithm of the paper.
        sync_period: The number of gradients in a round, at least 1; 2 is one ascent and one
            descent.
        reset_state: Whether the ascent starts each round with fresh state.
        opaque_mode: Whether one call of ``update`` is a whole round; it then needs ``grad_fn``.
        batch_axis_name: None. Average gradients over devices before you pass them in.

    Returns:
        A transformation with state :class:`SAMState`, whose ``update`` needs ``params``, and
        ``grad_fn`` in opaque mode. Other extra arguments go to both transformations. It runs on
        NumPy, those inside as they do by themselves.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``sync_period`` is less than 1, or ``batch_axis_name`` not None; or, from a step
            in opaque mode, there is no ``grad_fn``.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> adversary = gm.chain(gm.contrib.normalize(), gm.sgd(0.05))
        >>> tx = gm.contrib.sam(gm.sgd(0.1), adversary, opaque_mode=True)
        >>> opt = gm.Optimizer(tx, np.array([1.0, -2.0]))
        >>> for _ in range(50):
        ...     _ = opt.step(2 * opt.params, grad_fn=lambda params, step: 2 * params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Foret et al., `Sharpness-Aware Minimization for Efficiently Improving Generalization
        <https://arxiv.org/abs/2010.01412>`_, 2021.
    """
    for inner in (optimizer, adv_optimizer):
        if not is_transformation(inner):
            raise TypeError(f"sam takes two transformations, got {inner!r:.80}")
    if not is_integer(sync_period):
        raise TypeError(f"sync_period must be an integer, got {sync_period!r:.80}")
    if batch_axis_name is not None:
        raise ValueError(
            "sam takes no batch_axis_name: average gradients over devices before you pass them in"
        )
    hyper = {
        "optimizer": with_extra_args_support(optimizer),
        "adversary": with_extra_args_support(adv_optimizer),
        "sync_period": int(real("sync_period", number_of(sync_period), at_least=1)),
        "resets": reset_state,
    }
    if opaque_mode:
        return by_tree(_init_opaque, _opaque_sam, hyper, reads_params=True)
    return by_tree(_init, _sam, hyper, ("cache",), reads_params=True)
