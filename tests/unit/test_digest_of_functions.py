"""What hides in functions, closures and objects is part of a digest."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
import threading
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.cases import CASES
from tests.processes import python

if TYPE_CHECKING:
    from collections.abc import Callable


class Numbers:
    """The module with one number among the arguments of its functions changed."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.met = 0

    def __getattr__(self, name: str) -> Any:
        return self.wrapped(getattr(gm, name))

    def wrapped(self, function: Any) -> Any:
        if isinstance(function, ModuleType):
            public = {name: part for name, part in vars(function).items() if name[0] != "_"}
            return SimpleNamespace(**{name: self.wrapped(part) for name, part in public.items()})
        if not callable(function):
            return function

        def call(*args: Any, **kwargs: Any) -> Any:
            args = tuple(map(self.changed, args))
            return function(*args, **{key: self.changed(arg) for key, arg in kwargs.items()})

        return functools.wraps(function)(call)

    def changed(self, value: Any) -> Any:
        if callable(value):
            # The factory that inject_hyperparams is given.
            return getattr(value, "__wrapped__", value)
        if type(value) is tuple:
            return tuple(map(self.changed, value))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        self.met += 1
        if self.met - 1 != self.at:
            return value
        return value - 1 if isinstance(value, int) else 0.75 * value + 0.1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_number_of_a_row_counts(case: Any) -> None:
    usual = Numbers(-1)
    digests = [gm.state_digest(case.make(usual))]
    assert digests == [gm.state_digest(case.make(Numbers(-1)))]
    digests += [gm.state_digest(case.make(Numbers(at))) for at in range(usual.met)]
    assert len(set(digests)) == len(digests)


def scaled(rate: Any) -> Any:
    return lambda step: rate * step


def defaulted(rate: Any) -> Any:
    def schedule(step: Any, rate: Any = rate) -> Any:
        return rate

    return schedule


def by_keyword(rate: Any) -> Any:
    def schedule(step: Any, *, rate: Any = rate) -> Any:
        return rate

    return schedule


def nested(rate: Any) -> Any:
    inner = scaled(rate)
    return lambda step: inner(step) + 1


def recursive(rate: Any) -> Any:
    def schedule(step: int) -> Any:
        return rate if step == 0 else schedule(step - 1)

    return schedule


class Schedule:
    """What a schedule holds in attributes, private ones too."""

    def __init__(self, rate: Any) -> None:
        self._rate = rate

    def __call__(self, step: Any) -> Any:
        return self._rate

    def method(self, step: Any) -> Any:
        return self._rate

    @functools.cached_property
    def last(self) -> Any:
        return self._rate


class Slotted:
    """An object with a number, and without a dict."""

    __slots__ = ("rate",)

    def __init__(self, rate: Any) -> None:
        self.rate = rate

    def __call__(self, step: Any) -> Any:
        return self.rate


def unassigned(rate: Any) -> Any:
    def schedule(step: Any) -> Any:
        return later if step > 99 else rate

    if step_of_never():
        later = 0
    return schedule


def call(function: Any, step: Any) -> Any:
    return function(step)


def step_of_never() -> bool:
    return False


MAKERS: dict[str, Callable[[Any], Any]] = {
    "closure": scaled,
    "default": defaulted,
    "keyword": by_keyword,
    "closure in a closure": nested,
    "recursion": recursive,
    "partial": lambda rate: functools.partial(max, rate),
    "partial of a closure": lambda rate: functools.partial(call, scaled(rate)),
    "object": Schedule,
    "slots": Slotted,
    "method": lambda rate: Schedule(rate).method,
    "built-in method": lambda rate: {0: rate}.get,
    "wrapped": lambda rate: functools.lru_cache(scaled(rate)),
    "unassigned": unassigned,
    "generator": lambda rate: np.random.default_rng(int(8 * rate)).normal,
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_functions_hold(name: str) -> None:
    make = MAKERS[name]
    first, same, other = (gm.state_digest(make(rate)) for rate in (0.25, 0.25, 0.5))
    assert first == same != other
    for around in (
        gm.sgd,
        gm.inject_hyperparams(gm.sgd),
        lambda function: gm.chain(gm.stateless(function)),
        lambda function: gm.masked(gm.sgd(0.1), function),
        lambda function: gm.conditionally_transform(gm.sgd(0.1), function),
        lambda function: gm.GradientTransformation(function, function),
        lambda function: [function],
    ):
        assert gm.state_digest(around(make(0.25))) == gm.state_digest(around(make(0.25)))
        assert gm.state_digest(around(make(0.25))) != gm.state_digest(around(make(0.5)))


def test_code_tells_lambdas_apart() -> None:
    functions: list[Any] = [
        lambda step: 0.1,
        lambda step: 0.2,
        lambda step: step + 1,
        lambda step: step - 1,
        lambda step: np.sqrt(step + 1),
        lambda step: np.cbrt(step + 1),
        lambda step: lambda: 1,
        lambda step: lambda: 2,
    ]
    digests = [gm.state_digest(function) for function in functions]
    assert len(set(digests)) == len(digests)


def test_use_does_not_change_a_digest() -> None:
    functions = [make(0.25) for make in MAKERS.values() if make is not MAKERS["generator"]]
    before = gm.state_digest(functions)
    schedule = Schedule(0.25)
    alone = gm.state_digest(schedule)
    assert schedule.last == 0.25
    for function, _ in itertools.product(functions[:10], range(300)):
        function(1)
    assert gm.state_digest(functions) == before
    assert gm.state_digest(schedule) == alone


def test_sets_have_no_order_and_sentinels_no_identity() -> None:
    code = """
    import gradmill as gm

    NOTHING = object()

    def with_a_sentinel(step, default=NOTHING, names=frozenset({"w", "b", "kernel"})):
        return step in {"one", "two", "three"}

    print(gm.state_digest([with_a_sentinel, {"u", "v", "w"}, {1, 2}, set()]))
    """
    first, second = (python(code, PYTHONHASHSEED=seed) for seed in "12")
    assert first == second
    assert gm.state_digest({"u", "v"}) != gm.state_digest({"u", "w"})


def test_what_has_no_digest_is_named() -> None:
    lock = threading.Lock()

    def schedule(step: Any) -> Any:
        with lock:
            return step

    with pytest.raises(TypeError, match=r"schedule:lock: is a lock, which has no digest"):
        gm.state_digest(gm.sgd(schedule))


@pytest.mark.parametrize("form", [1.0, 2.0])
def test_per_example_clipping(form: float) -> None:
    make = gm.per_example_global_norm_clip
    digests = {gm.state_digest(make(form)), gm.state_digest(make(form, True))}
    assert len(digests) == 2
    assert gm.state_digest(make(l2_norm_clip=3.0)) not in digests
    for again in (pickle.loads(pickle.dumps(make(form))), copy.deepcopy(make(form))):
        assert gm.state_digest(again) in digests


def test_files_of_the_package_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = gm.state_digest((gm.scale(2.0), gm.apply_updates))
    monkeypatch.setattr(gm.EmptyState, "__module__", "gradmill.elsewhere")
    monkeypatch.setattr(gm.apply_updates, "__module__", "gradmill.elsewhere")
    assert gm.state_digest((gm.scale(2.0), gm.apply_updates)) == before
    monkeypatch.setattr(gm.apply_updates, "__module__", "elsewhere")
    assert gm.state_digest((gm.scale(2.0), gm.apply_updates)) != before
