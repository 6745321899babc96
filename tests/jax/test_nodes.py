"""Classes that are registered with JAX are nodes for all of gradmill, without a word to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import TreeError
from gradmill.jax import to_optax
from tests.cases import CASES, Case
from tests.trees import bits, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[Any, Any], Any]


def module() -> Make:
    """A class of this call alone, which nobody has met: such as Equinox has, with a call."""

    @dataclass
    class Module:
        kernel: Any
        bias: Any

        def __call__(self, x: Any) -> Any:
            return x @ self.kernel + self.bias

    jax.tree_util.register_dataclass(Module, ["kernel", "bias"], [])
    return Module


def unnamed() -> Make:
    """One that does not say what its children are called."""

    class Unnamed:
        def __init__(self, kernel: Any, bias: Any) -> None:
            self.kernel, self.bias = kernel, bias

    jax.tree_util.register_pytree_node(
        Unnamed, lambda node: ((node.kernel, node.bias), None), lambda _, pair: Unnamed(*pair)
    )
    return Unnamed


def frozen() -> Make:
    """A mapping that cannot change, as Flax has."""

    class Frozen(Mapping[str, Any]):
        def __init__(self, kernel: Any, bias: Any) -> None:
            self.items_ = {"kernel": kernel, "bias": bias}

        def __getitem__(self, key: str) -> Any:
            return self.items_[key]

        def __iter__(self) -> Iterator[str]:
            return iter(self.items_)

        def __len__(self) -> int:
            return len(self.items_)

        kernel = property(lambda self: self["kernel"])
        bias = property(lambda self: self["bias"])

    key = jax.tree_util.DictKey
    jax.tree_util.register_pytree_with_keys(
        Frozen,
        lambda node: ([(key("kernel"), node.kernel), (key("bias"), node.bias)], None),
        lambda _, pair: Frozen(*pair),
    )
    return Frozen


KINDS = [module, unnamed, frozen]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def numbers(seed: int) -> tuple[Any, Any]:
    tree = random_tree(seed)
    return tree["kernel"], tree["bias"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_step_is_that_over_a_tuple(case: Case) -> None:
    kind = KINDS[len(case.name) % len(KINDS)]()
    tx, plain = case.make(gm), numbers(0)
    try:
        after = tx.init(plain)
    except (TreeError, TypeError):
        pytest.skip("the row has a mask for trees with keys")
    params, state = kind(*plain), tx.init(kind(*plain))
    for step in (1, 2):
        updates, state = tx.update(kind(*numbers(step)), state, params)
        expected, after = tx.update(numbers(step), after, plain)
        params, plain = gm.apply_updates(params, updates), gm.apply_updates(plain, expected)
        assert type(updates) is type(params) is kind
        assert bits((params.kernel, params.bias)) == bits(plain)
        assert bits(jax.tree.leaves(state)) == bits(jax.tree.leaves(after))


@each_kind
def test_in_place_and_within_other_trees(kind: Callable[[], Make]) -> None:
    make = kind()
    opt = gm.Optimizer(gm.adamw(0.1), {"first": make(*numbers(0)), "second": [np.ones(2, "f4")]})
    plain = gm.Optimizer(gm.adamw(0.1), [*numbers(0), np.ones(2, "f4")])
    for step in (1, 2):
        opt.step({"first": make(*numbers(step)), "second": [np.full(2, 3.0, "f4")]})
        plain.step([*numbers(step), np.full(2, 3.0, "f4")])
    first = opt.params["first"]
    assert bits([first.kernel, first.bias, *opt.params["second"]]) == bits(plain.params)


@each_kind
def test_masks_and_labels(kind: Callable[[], Make]) -> None:
    """A mask of a class whose instances are functions is a tree, as its leaves are none."""
    make = kind()
    params = make(*numbers(0))
    updates, state = [], []
    for tx in (
        gm.masked(gm.trace(0.9), make(True, False)),
        gm.partition({"x": gm.trace(0.9), "y": gm.identity()}, make("x", "y")),
        gm.masked(gm.trace(0.9), lambda tree: make(tree.kernel.ndim > 1, False)),
        gm.masked(gm.trace(0.9), jax.tree_util.Partial(lambda _: make(True, False))),
    ):
        new, after = tx.update(make(*numbers(1)), tx.init(params), params)
        updates.append(bits((new.kernel, new.bias)))
        state.append([leaf.shape for leaf in jax.tree.leaves(after)])
    assert updates == updates[:1] * 4
    assert state == [[params.kernel.shape]] * 4


@each_kind
def test_functions_of_trees(kind: Callable[[], Make]) -> None:
    make = kind()
    one, two = make(*numbers(0)), numbers(1)
    assert gm.tree.norm(one) == gm.tree.norm(numbers(0))
    total = gm.tree.add(one, kind()(*two)) if kind is frozen else gm.tree.add(one, make(*two))
    assert bits((total.kernel, total.bias)) == bits(gm.tree.add(numbers(0), two))
    state = gm.adam(0.1).init(make(*two))
    names = gm.tree.map_params(gm.adam(0.1), lambda _, name: name, state, make("k", "b"))
    assert (names[0].mu.kernel, names[0].nu.bias) == ("k", "b")
    if kind is not unnamed:
        (path, found), *_ = gm.tree.get_all_with_path(kind()(*two), "bias")
        assert str(path[-1]) == ("['bias']" if kind is frozen else ".bias")
        assert bits(found) == bits(two[1])
    lowered = to_optax(gm.adam(0.1))
    traced = jax.jit(lowered.init)(kind()(*two))
    assert isinstance(traced[0].mu.kernel, jnp.ndarray)


def test_a_digest_is_the_same_before_and_after() -> None:
    """There is more to such an object than its children."""

    @dataclass
    class Scaled:
        kernel: Any
        size: float

    jax.tree_util.register_dataclass(Scaled, ["kernel"], ["size"])
    one, other = Scaled(np.ones(2), 1.0), Scaled(np.ones(2), 2.0)
    before = gm.state_digest(one)
    assert gm.global_norm(one) == 2**0.5
    assert gm.state_digest(one) == before != gm.state_digest(other)


def test_a_class_may_be_registered_after_it_was_met() -> None:
    class Late:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

    with pytest.raises(TypeError, match="Late, expected float16"):
        gm.global_norm(Late(np.ones(4)))
    jax.tree_util.register_pytree_node(
        Late, lambda node: ((node.kernel,), None), lambda _, own: Late(*own)
    )
    assert gm.global_norm(Late(np.ones(4))) == 2
