from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, overload

import numpy as np

from gradmill._data.checks import float_dtype, is_integer, number_of
from gradmill._data.numbers import integer, is_traced, library_of, namespace_of
from gradmill._data.recorded import Call
from gradmill._data.slots import Slot
from gradmill._data.trees import tree_map
from gradmill._data.types import is_transformation
from gradmill._ops import accumulate as ops
from gradmill._plan.control import Context, Control, Plan
from gradmill._plan.scalars import next_count
from gradmill._plan.spec import Gated, Spec
from gradmill._run.fused import native_with_extra
from gradmill.schedules._named import call_at
from gradmill.transforms._identity import identity
from gradmill.transforms._skip import skip_large_updates, skip_not_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.spec import Description
    from gradmill._run.transformation import GradientTransformation, GradientTransformationExtraArgs


class MultiStepsState(NamedTuple):
    """The state of :class:`MultiSteps`.

    Attributes:
        mini_step: Updates collected in this round, a 0-d int32 array.
        gradient_step: Completed rounds, a 0-d int32 array.
        inner_opt_state: The state of the inner transformation.
        acc_grads: The means or sums of this round, a tree like the parameters.
        skip_state: The last information from ``should_skip_update_fn``; ``()`` without one.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.MultiSteps(2).init(np.ones(1)).acc_grads
        array([0.])
    """

    mini_step: Any
    gradient_step: Any
    inner_opt_state: Any
    acc_grads: Any
    skip_state: Any = ()


class _Collect(Control):
    """Counts the updates of a round and ends it."""

    def __init__(self, k: int | Callable[[int], float], skips: Callable[..., Any] | None) -> None:
        self.k = k
        self.skips = skips
        self.needs_updates = skips is not None

    @property
    def is_arithmetic(self) -> bool:
        """Whether no function of the user's says how long a round is, and what to leave out."""
        return self.skips is None and not callable(self.k)

    def steps(self, gradient_step: Any) -> Any:
        """The length of a round."""
        if not callable(self.k):
            return self.k
        k = call_at(self.k, gradient_step)
        if is_traced(gradient_step):
            return k
        number = number_of(k)
        # What piecewise_constant_schedule returns may be a float.
        if number is None or not (number >= 1 and number % 1 == 0):
            raise ValueError(f"every_k_schedule must give positive integers, got {k!r:.80}")
        return int(number)

    def _skip(self, updates: PyTree, gradient_step: Any, params: PyTree) -> tuple[Any, Any]:
        if self.skips is None:
            return False, ()
        given = gradient_step if is_traced(gradient_step) else np.int64(gradient_step)
        skip, info = self.skips(updates, given, params)
        if is_traced(skip):
            return skip, info
        if np.ndim(skip) != 0 or np.asarray(skip).dtype != np.bool_:
            raise ValueError(f"should_skip_update_fn must return a bool first, got {skip!r:.80}")
        return bool(skip), tree_map(np.asarray, info)

    counts = ("mini_step", "gradient_step")

    def init(self, params: PyTree) -> dict[str, Any]:
        zeros = None
        if self.skips is not None:
            zeros = tree_map(lambda leaf: library_of(leaf).zeros_like(leaf), params)
        return {
            "mini_step": np.zeros((), np.int32),
            "gradient_step": np.zeros((), np.int32),
            "skip_state": self._skip(zeros, 0, params)[1],
        }

    def plan(self, state: Any, context: Context) -> Plan:
        xp = context.xp
        collected, rounds = integer(state.mini_step), integer(state.gradient_step)
        skip, info = self._skip(context.updates, rounds, context.params)
        is_last = collected >= self.steps(rounds) - 1
        emits = xp.logical_and(xp.logical_not(skip), is_last)
        return Plan((collected, emits, skip), open=emits, carry=(skip, info))

    def advance(self, state: Any, plan: Plan, found: None) -> dict[str, Any]:
        skip, info = plan.carry
        collected, rounds = state.mini_step, state.gradient_step
        where = namespace_of(plan.open).where
        changes: dict[str, Any] = {} if self.skips is None else {"skip_state": info}
        changes["mini_step"] = where(plan.open, 0, where(skip, collected, next_count(collected)))
        changes["gradient_step"] = where(plan.open, next_count(rounds), rounds)
        return changes


class MultiSteps:
    r"""Collect the gradients of ``k`` small batches and take one step with their mean.

    .. math:: a' = a + (u - a) / i, \qquad i = 1, \dots, k

    or :math:`a' = a + u` for the sum. In the last step of a round the transformation receives
    :math:`a'`, and the accumulator starts again from zero. In the other steps updates are zero, and
    the transformation's state stays as it is. Call it as ``MultiSteps(opt, every_k_schedule)``
    (optax's form), or as ``MultiSteps(every_k_schedule, use_grad_mean=True)`` (the
    specification's), which only collects. Use an instance wherever a transformation can stand.

    In ``chain(MultiSteps(4), adam(0.1))`` Adam still sees zeros in the steps that only collect.
    Wrap the optimizer instead, ``MultiSteps(adam(0.1), 4)``, for one step of Adam in four.

    A NaN or an infinity lasts no longer than its round.

    Args:
        opt: The transformation to run once a round; or ``every_k_schedule``.
        every_k_schedule: The number ``k`` of steps in a round: gradients of ``k`` small batches
            make one large batch. An integer, or a function of the number of completed rounds, an
            int64 of NumPy. If ``every_k_schedule`` came first, ``use_grad_mean``.
        use_grad_mean: Whether to pass on the mean of the updates rather than their sum.
        should_skip_update_fn: Called with the updates, the completed rounds (an int64) and the
            parameters. It returns whether to leave these updates out, and a tree of arrays to keep
            in the state. See :func:`skip_not_finite` and :func:`skip_large_updates`.
        accumulator_dtype: float32 or float64 for the accumulator; None for the wider of float32 and
            the parameter's dtype.

    Raises:
        TypeError: The arguments have neither form.
        ValueError: ``k`` is not positive, or, from ``update``, a function returns something else
            than what is said here.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.MultiSteps(gm.sgd(1.0), every_k_schedule=2)
        >>> updates, state = tx.update(np.array([1.0]), tx.init(np.zeros(1)))
        >>> updates, tx.update(np.array([3.0]), state)[0]
        (array([0.]), array([-2.]))
    """

    skip_not_finite: ClassVar[Callable[..., Any]] = staticmethod(skip_not_finite)
    skip_large_updates: ClassVar[Callable[..., Any]] = staticmethod(skip_large_updates)

    @overload
    def __init__(
        self,
        opt: TransformationLike,
        every_k_schedule: int | Callable[[Any], float],
        use_grad_mean: bool | None = None,
        should_skip_update_fn: Callable[..., Any] | None = None,
        accumulator_dtype: DTypeLike | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self, every_k_schedule: int | Callable[[Any], float], use_grad_mean: bool, /
    ) -> None: ...
    @overload
    def __init__(
        self,
        every_k_schedule: int | Callable[[Any], float],
        /,
        *,
        use_grad_mean: bool | None = None,
        should_skip_update_fn: Callable[..., Any] | None = None,
        accumulator_dtype: DTypeLike | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        every_k_schedule: int | Callable[[Any], float],
        use_grad_mean: bool | None = None,
        should_skip_update_fn: Callable[..., Any] | None = None,
        accumulator_dtype: DTypeLike | None = None,
    ) -> None: ...
    def __init__(
        self,
        opt: TransformationLike | int | Callable[[int], float] | None = None,
        every_k_schedule: int | Callable[[int], float] | bool | None = None,
        use_grad_mean: bool | None = None,
        should_skip_update_fn: Callable[..., Any] | None = None,
        accumulator_dtype: DTypeLike | None = None,
    ) -> None:
        given = [opt, every_k_schedule, use_grad_mean, should_skip_update_fn, accumulator_dtype]
        while given and given[-1] is None:
            given.pop()
        self._made_by = Call(MultiSteps, tuple(given), {})
        inner: Any = opt
        k: Any = every_k_schedule
        if not is_transformation(opt) and opt is not None:
            # The specification's form, where all stands one place further to the left.
            if isinstance(k, bool) and use_grad_mean is None:
                k, use_grad_mean = None, k
            if k is None:
                inner, k = None, opt
        is_inner = inner is None or is_transformation(inner)
        if not is_inner or not (is_integer(k) or (callable(k) and not is_transformation(k))):
            raise TypeError(
                "MultiSteps takes MultiSteps(every_k_schedule, use_grad_mean=True) or"
                " MultiSteps(opt, every_k_schedule, use_grad_mean=True, ...), every_k_schedule an"
                f" integer or a function; got {opt!r}, {every_k_schedule!r}"
            )
        if is_integer(k):
            k = int(number_of(k))
            if k < 1:
                raise ValueError(f"MultiSteps needs a positive every_k_schedule, got {k}")
        dtype = float_dtype("accumulator_dtype", accumulator_dtype)
        slot = Slot("acc_grads", dtype, np.dtype(np.float32) if dtype is None else None)
        mean = use_grad_mean is None or use_grad_mean
        spec = Spec(
            ops.multi_steps_mean if mean else ops.multi_steps_sum,
            MultiStepsState,
            slots=(slot,),
            control=_Collect(k, should_skip_update_fn),
        )
        self._inner = identity() if inner is None else inner
        self._tx = native_with_extra(Gated(spec, self._inner, "inner_opt_state"))
        self._tx._made_by = self._made_by._replace(more=".gradient_transformation()")

    def __repr__(self) -> str:
        """Return the code that makes it."""
        return str(self._made_by)

    @property
    def inner_opt(self) -> GradientTransformation:
        """The transformation that runs once a round."""
        return self._inner

    @property
    def description(self) -> Description | None:
        """What it does, as data, by which chains fuse it."""
        return self._tx.description

    def init(self, params: PyTree) -> MultiStepsState:
        """Return the initial state for ``params``."""
        state = self._tx.init(params)
        assert isinstance(state, MultiStepsState)  # noqa: S101  (for the type checker)
        return state

    def update(
        self,
        updates: PyTree,
        state: MultiStepsState,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, MultiStepsState]:
        """Return zeros, or the new updates at the end of a round, and the new state."""
        new, new_state = self._tx.update(updates, state, params, **extra_args)
        return new, new_state

    def has_updated(self, state: MultiStepsState) -> np.bool_:
        """Whether the last step ended a round."""
        return np.bool_(int(state.mini_step) == 0 and int(state.gradient_step) > 0)

    def gradient_transformation(self) -> GradientTransformationExtraArgs:
        """The same transformation as a pair of functions."""
        return self._tx
