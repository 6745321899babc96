"""Transformations of single examples' gradients, and of their average."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from gradmill import tree
from gradmill._data.checks import is_integer, real
from gradmill._data.recorded import recorded
from gradmill._data.types import is_transformation
from gradmill._run.transformation import GradientTransformation, GradientTransformationExtraArgs
from gradmill.transforms import chain, identity, init_empty_state, with_extra_args_support
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradmill._data.types import PyTree, TransformationLike

__all__ = [
    "AccumulateAvgUpdatesState",
    "Aggregator",
    "AggregatorUpdateFn",
    "accumulate_avg_updates",
    "average_incrementally_updates",
    "average_per_element_updates",
    "process",
]


class AggregatorUpdateFn(Protocol):
    """Makes one tree of updates of those of all examples, and perhaps something beside it.

    Example:
        >>> from gradmill.experimental import aggregating
        >>> update: aggregating.AggregatorUpdateFn
        >>> update = aggregating.average_per_element_updates().update
    """

    def __call__(
        self, per_elt_updates: PyTree, state: PyTree, params: PyTree | None = None
    ) -> tuple[Any, PyTree]:
        """Return the updates, or a pair of them and a dict, and the new state."""
        ...


class Aggregator(GradientTransformationExtraArgs):
    """A transformation that removes the axis of examples.

    Args:
        init: Returns the state for a tree of parameters.
        update: Takes updates with one axis more than the parameters, and returns updates without
            it.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> from gradmill.experimental.aggregating import Aggregator
        >>> median = Aggregator(
        ...     init=gm.init_empty_state,
        ...     update=lambda updates, state, params=None: (np.median(updates, 0), state),
        ... )
        >>> median.update(np.array([[1.0], [2.0], [9.0]]), gm.EmptyState())[0]
        array([2.])
    """


class AccumulateAvgUpdatesState(NamedTuple):
    """The state of :func:`accumulate_avg_updates`.

    Attributes:
        micro_step: Parts collected of the batch, a 0-d int32 array.
        ready: Whether the last one completed a batch, a 0-d array.
        avg_grad: Their average.

    Example:
        >>> import numpy as np
        >>> from gradmill.experimental.aggregating import accumulate_avg_updates
        >>> accumulate_avg_updates(2).init(np.zeros(1)).avg_grad
        array([0.])
    """

    micro_step: Any
    ready: Any
    avg_grad: Any


@recorded
def process(
    preprocessor: TransformationLike,
    aggregator: TransformationLike,
    postprocessor: TransformationLike,
    aggregator_has_aux: bool = False,
) -> GradientTransformationExtraArgs:
    """Transform the gradients of each example, aggregate them, and transform the result.

    While the aggregator is collecting, which it reports as ``ready`` in its state, updates are zero
    and the last transformation is not run. This runs on NumPy; in JAX programs, use optax's.

    Args:
        preprocessor: Transforms gradients that have an axis of examples, and keeps that axis.
        aggregator: Removes that axis, or is a transformation that collects.
        postprocessor: Transforms the result; an optimizer such as :func:`gradmill.adam`.
        aggregator_has_aux: Whether the aggregator returns a pair of updates and a dict, whose items
            become extra arguments of the last transformation.

    Returns:
        A transformation whose state is a tuple of the three states; an :class:`Aggregator` if
        ``aggregator`` is one. The other two members receive the extra arguments of ``update``, if
        they take any.

    Raises:
        TypeError: One of the three is not a transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> from gradmill.experimental import aggregating
        >>> tx = aggregating.process(
        ...     gm.clip(1.0), aggregating.average_per_element_updates(), gm.sgd(0.5)
        ... )
        >>> opt = gm.Optimizer(tx, np.zeros(2))
        >>> _ = opt.step(np.array([[1.0, 5.0], [1.0, -3.0]]))
        >>> opt.params
        array([-0.5,  0. ])
    """
    given = (preprocessor, aggregator, postprocessor)
    for member in given:
        if not is_transformation(member):
            raise TypeError(f"process takes transformations, got {member!r}")
    members = tuple(map(with_extra_args_support, given))
    kind = GradientTransformationExtraArgs
    if isinstance(aggregator, Aggregator):
        kind = Aggregator
    return kind(partial(_init, members), partial(_update, members, bool(aggregator_has_aux)))


# At the top of the module, so that they can be pickled.


def _init(members: Sequence[TransformationLike], /, params: PyTree) -> PyTree:
    return tuple(member.init(params) for member in members)


def _update(
    members: Sequence[TransformationLike],
    has_aux: bool,
    /,
    updates: PyTree,
    state: PyTree,
    params: PyTree | None = None,
    **extra_args: Any,
) -> tuple[PyTree, PyTree]:
    (first, aggregator, last), (before, during, after) = members, state
    updates, before = first.update(updates, before, params, **extra_args)
    updates, during = aggregator.update(updates, during, params)
    aux: Mapping[str, Any] = {}
    if has_aux:
        updates, aux = updates
    if all(ready for _, ready in tree.get_all_with_path(during, "ready")):
        updates, after = last.update(updates, after, params, **{**extra_args, **aux})
    else:
        updates = tree.zeros_like(updates)
    return updates, (before, during, after)


@recorded
def average_per_element_updates(per_elt_axis: int | Sequence[int] = 0) -> Aggregator:
    r"""Average the gradients of all examples.

    .. math:: u' = \frac{1}{n} \sum_i u_i

    For NumPy arrays, sums are formed in float64.

    Args:
        per_elt_axis: The axis or axes of examples.

    Returns:
        An :class:`Aggregator` with state ``EmptyState()``.

    Raises:
        TypeError: ``per_elt_axis`` is not an integer, nor a sequence of such.

    Example:
        >>> import numpy as np
        >>> from gradmill.experimental import aggregating
        >>> tx = aggregating.average_per_element_updates()
        >>> tx.update(np.array([[1.0, 5.0], [1.0, -3.0]]), tx.init(np.zeros(2)))[0]
        array([1., 1.])
    """
    given = per_elt_axis if isinstance(per_elt_axis, (list, tuple)) else [per_elt_axis]
    if not all(map(is_integer, given)):
        raise TypeError(f"per_elt_axis must be integers, got {per_elt_axis!r:.80}")
    return Aggregator(init_empty_state, partial(_average, tuple(map(int, given))))


def _average(
    axes: tuple[int, ...],
    /,
    updates: PyTree,
    state: PyTree,
    params: PyTree | None = None,  # noqa: ARG001  (they do not matter)
) -> tuple[PyTree, PyTree]:
    def mean(xp: Any, x: Any) -> Any:
        if xp is not np:
            return xp.mean(x, axis=axes)
        return np.asarray(np.mean(x, axis=axes, dtype=np.float64)).astype(x.dtype)

    op = "average_per_element_updates"
    return mapped(op, mean, {"updates": updates}, promotes=False), state


@recorded
def accumulate_avg_updates(accumulation_steps: int) -> GradientTransformation:
    r"""Average updates over several steps, for :func:`process`.

    .. math:: a' = a + \frac{u - a}{t + 1}, \qquad
              u' = a' \text{ in each } k\text{-th step, and } 0 \text{ in others}

    Args:
        accumulation_steps: The number :math:`k` of parts in a batch, at least 1.

    Returns:
        A transformation with state :class:`AccumulateAvgUpdatesState`, which starts anew after each
        batch; :func:`gradmill.identity` for batches of one part. It runs on NumPy.

    Raises:
        TypeError: ``accumulation_steps`` is not an integer.
        ValueError: It is below 1.

    Example:
        >>> import numpy as np
        >>> from gradmill.experimental import aggregating
        >>> tx = aggregating.accumulate_avg_updates(2)
        >>> _, state = tx.update(np.array([1.0]), tx.init(np.zeros(1)))
        >>> updates, state = tx.update(np.array([2.0]), state)
        >>> updates, bool(state.ready)
        (array([1.5]), True)
    """
    if not is_integer(accumulation_steps):
        raise TypeError(f"accumulation_steps must be an integer, got {accumulation_steps!r:.80}")
    steps = int(real("accumulation_steps", accumulation_steps, at_least=1))
    if steps == 1:
        return identity()
    return GradientTransformation(_nothing_collected, partial(_collect, steps))


def _nothing_collected(params: PyTree) -> AccumulateAvgUpdatesState:
    count, ready = np.zeros((), np.int32), np.zeros((), np.bool_)
    return AccumulateAvgUpdatesState(count, ready, tree.zeros_like(params))


def _collect(
    steps: int,
    /,
    updates: PyTree,
    state: AccumulateAvgUpdatesState,
    params: PyTree | None = None,  # noqa: ARG001  (they do not matter)
) -> tuple[PyTree, AccumulateAvgUpdatesState]:
    taken = int(state.micro_step)
    average = updates
    if taken:
        share = 1.0 / (taken + 1)
        trees = {"updates": updates, "state.avg_grad": state.avg_grad}
        average = mapped(
            "accumulate_avg_updates", lambda _, u, a, share: a + (u - a) * share, trees, (share,)
        )
    average = tree.cast_like(average, state.avg_grad)
    zeros = tree.zeros_like(state.avg_grad)
    if taken + 1 < steps:
        count, ready = np.asarray(taken + 1, np.int32), np.zeros((), np.bool_)
        return zeros, AccumulateAvgUpdatesState(count, ready, average)
    count, ready = np.zeros((), np.int32), np.ones((), np.bool_)
    return average, AccumulateAvgUpdatesState(count, ready, zeros)


@recorded
def average_incrementally_updates(
    per_elt_axis: int | Sequence[int] | None, accumulation_steps: int
) -> GradientTransformation:
    """Average the gradients of examples, then those averages over the parts of a batch.

    Args:
        per_elt_axis: The axis or axes of examples; None if gradients are averages already.
        accumulation_steps: The number of parts in a batch, at least 1.

    Returns:
        :func:`average_per_element_updates` and :func:`accumulate_avg_updates` one after the other,
        as an :class:`Aggregator`; the latter alone without an axis.

    Raises:
        TypeError: An argument is not an integer.
        ValueError: ``accumulation_steps`` is below 1.

    Example:
        >>> import numpy as np
        >>> from gradmill.experimental import aggregating
        >>> tx = aggregating.average_incrementally_updates(0, 1)
        >>> tx.update(np.array([[1.0, 5.0], [1.0, -3.0]]), tx.init(np.zeros(2)))[0]
        array([1., 1.])
    """
    collects = accumulate_avg_updates(accumulation_steps)
    if per_elt_axis is None:
        return collects
    both = chain(average_per_element_updates(per_elt_axis), collects)
    return Aggregator(both.init, both.update)
