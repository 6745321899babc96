from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.recorded import recorded
from gradmill._data.types import NO_PARAMS_MSG, is_transformation
from gradmill._run.transformation import GradientTransformationExtraArgs
from gradmill._run.trees import TreeFormula
from gradmill.transforms._stateless import with_extra_args_support
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree, TransformationLike


class LookaheadParams(NamedTuple):
    """The parameters of :func:`lookahead`.

    Attributes:
        fast: Where gradients are taken. The inner optimizer moves these.
        slow: The copy that lags behind. Evaluate with these.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.LookaheadParams.init_synced(np.ones(2))
        LookaheadParams(fast=array([1., 1.]), slow=array([1., 1.]))
    """

    fast: Any
    slow: Any

    @classmethod
    def init_synced(cls, params: PyTree) -> LookaheadParams:
        """Let both start from the same parameters; the slow ones are copies."""
        copy = lambda xp, leaf: xp.array(leaf)
        return cls(params, mapped("init_synced", copy, {"params": params}, promotes=False))


class LookaheadState(NamedTuple):
    """The state of :func:`lookahead`.

    Attributes:
        fast_state: The state of the inner optimizer.
        steps_since_sync: Steps taken since the last synchronization, a 0-d int32 array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.lookahead(gm.scale(-1.0), sync_period=5, slow_step_size=0.5)
        >>> tx.init(gm.LookaheadParams.init_synced(np.ones(2)))
        LookaheadState(fast_state=EmptyState(), steps_since_sync=array(0, dtype=int32))
    """

    fast_state: Any
    steps_since_sync: Any


def _init(xp: Any, params: PyTree, *, base: TransformationLike, **_: Any) -> LookaheadState:
    fast = params.fast if is_pair(params) else params
    return LookaheadState(base.init(fast), xp.zeros((), xp.int32))


def _lookahead(
    xp: Any,
    updates: PyTree,
    state: LookaheadState,
    params: PyTree,
    extra: Mapping[str, Any],
    *,
    base: TransformationLike,
    sync_period: int,
    slow_step_size: float,
    reset_state: bool,
) -> tuple[PyTree, LookaheadState]:
    moves, fast_state = base.update(updates.fast, state.fast_state, params.fast, **extra)
    steps = state.steps_since_sync + 1
    meets = steps >= sync_period

    def followed(_: Any, fast: Any, move: Any, slow: Any) -> Any:
        return xp.where(meets, slow_step_size * (fast + move - slow), 0)

    def moved(_: Any, fast: Any, move: Any, slow: Any, step: Any) -> Any:
        return xp.where(meets, slow + step - fast, move)

    trees = {"fast": params.fast, "updates": moves, "slow": params.slow}
    slow = mapped("lookahead", followed, trees)
    fast = mapped("lookahead", moved, {**trees, "steps": slow})
    if reset_state and xp is not np:
        fast_state = tree.where(meets, base.init(params.fast), fast_state)
    elif reset_state and meets:
        fast_state = base.init(params.fast)
    after = LookaheadState(fast_state, xp.where(meets, 0, steps))
    return type(params)(fast, slow), after


class Lookahead(TreeFormula):
    """The formula, for updates of the fast parameters alone."""

    def update(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        """Return the updates of both kinds of parameters and the new state."""
        if params is None:
            raise ValueError(f"lookahead {NO_PARAMS_MSG}")
        if not is_pair(params):
            raise TypeError(
                "lookahead: params must be LookaheadParams(fast, slow);"
                " make them by LookaheadParams.init_synced(params)"
            )
        fast: Any = updates.fast if is_pair(updates) else updates
        return super().update(type(params)(fast, fast), state, params, **extra_args)


def is_pair(value: Any) -> bool:
    """Whether it is a ``LookaheadParams``, of gradmill or of optax."""
    return getattr(value, "_fields", None) == LookaheadParams._fields


@recorded
def lookahead(
    fast_optimizer: TransformationLike,
    sync_period: int,
    slow_step_size: float,
    reset_state: bool = False,
) -> GradientTransformationExtraArgs:
    r"""Let slow parameters follow fast ones, and restart the fast ones from them every few steps.

    .. math::
        f' = f + u, \quad s' = s \qquad \text{and, in each } k\text{-th step,} \qquad
        s' = s + \alpha (f + u - s), \quad f' = s'

    It steadies an optimizer that oscillates, at the cost of a second copy of the parameters.
    Parameters are :class:`LookaheadParams`; take gradients at the fast ones.

    Args:
        fast_optimizer: The optimizer of the fast parameters, such as :func:`adam`. It makes the
            updates :math:`u`.
        sync_period: The number :math:`k` of fast steps between two synchronizations, at least 1; 5
            to 10 is usual.
        slow_step_size: How far the slow parameters move towards the fast ones, :math:`\alpha`; 0.5
            is usual.
        reset_state: Whether the fast optimizer starts over after each synchronization.

    Returns:
        A transformation with state :class:`LookaheadState`, whose ``update`` takes gradients of the
        fast parameters, needs ``params`` and returns updates for both kinds. It runs on NumPy, the
        one inside as it does by itself.

    Raises:
        TypeError: An argument has the wrong type; or, from ``update``, ``params`` is not a
            ``LookaheadParams``.
        ValueError: A number is out of bounds or NaN; or, from ``update``, ``params`` is missing.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = gm.LookaheadParams.init_synced(np.array([1.0]))
        >>> opt = gm.Optimizer(gm.lookahead(gm.sgd(0.25), 2, 0.5), params)
        >>> for _ in range(2):
        ...     _ = opt.step(np.array([1.0]))
        >>> opt.params
        LookaheadParams(fast=array([0.75]), slow=array([0.75]))

    References:
        Zhang, Lucas, Hinton and Ba, `Lookahead Optimizer: k steps forward, 1 step back
        <https://arxiv.org/abs/1907.08610>`_, 2019.
    """
    if not is_transformation(fast_optimizer):
        raise TypeError(f"lookahead takes a transformation, got {fast_optimizer!r}")
    if not is_integer(sync_period):
        raise TypeError(f"sync_period must be an integer, got {sync_period!r:.80}")
    real("sync_period", sync_period, at_least=1)
    hyper = {
        "base": with_extra_args_support(fast_optimizer),
        "sync_period": number_of(sync_period),
        "slow_step_size": real("slow_step_size", slow_step_size),
        "reset_state": bool(reset_state),
    }
    formula = Lookahead(_init, _lookahead, hyper, reads_params=True)
    return GradientTransformationExtraArgs(formula.init, formula.update)
