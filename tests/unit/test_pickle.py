"""Optimizers as objects: in other processes, in odd layouts, with what others hand them."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import pickle
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import gradmill as gm
from tests.processes import python
from tests.property.strategies import relayout
from tests.trees import bits, random_tree

if TYPE_CHECKING:
    from pathlib import Path

COPIES = [lambda opt: pickle.loads(pickle.dumps(opt, 5)), copy.deepcopy, copy.copy]


def take_step(opt: gm.Optimizer, seed: int) -> gm.Optimizer:
    opt.step(random_tree(seed))
    return opt


def test_a_spawned_process_goes_on() -> None:
    opt = gm.Optimizer(gm.MultiSteps(gm.adamw(0.1), 2), random_tree(0))
    opt.step(random_tree(1))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        other = pool.apply(take_step, (opt, 2))
    assert opt.state.mini_step == 1
    opt.step(random_tree(2))
    assert bits((other.params, other.state)) == bits((opt.params, opt.state))
    assert repr(other) == repr(opt) == "Optimizer(6 leaves, 2 steps)"


def test_workers_of_joblib_get_arrays_to_write_to(tmp_path: Path) -> None:
    """Large arrays arrive there as read-only files."""
    joblib = pytest.importorskip("joblib")
    params = {"w": np.zeros(1000, np.float32)}
    opt = gm.Optimizer(gm.adam(0.1), params)
    run = joblib.Parallel(2, max_nbytes=100, temp_folder=tmp_path)
    made = run(joblib.delayed(step_with)(opt, sign) for sign in (1, -1))
    np.testing.assert_allclose([other.params["w"][0] for other in made], [-0.1, 0.1], rtol=1e-6)
    assert not params["w"].any()
    for other in made:
        assert other.step({"w": np.ones(1000, np.float32)}).step == 2


def step_with(opt: gm.Optimizer, sign: float) -> gm.Optimizer:
    opt.step({"w": np.full(1000, sign, np.float32)})
    return opt


def test_functions_of_the_users_by_cloudpickle() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    negate = gm.stateless(lambda updates, params: [-leaf for leaf in updates])
    opt = gm.Optimizer(gm.chain(negate, gm.sgd(lambda step: 0.5 / (step + 1))), [np.zeros(3)])
    opt.step([np.ones(3)])
    other = pickle.loads(cloudpickle.dumps(opt))
    for each in (opt, other):
        each.step([np.ones(3)])
        np.testing.assert_array_equal(each.params[0], np.full(3, 0.75))


@pytest.mark.parametrize("make", COPIES)
@pytest.mark.parametrize("how", ["C", "F", "strided", "reversed"])
def test_layouts(how: str, make: Any) -> None:
    params = {"w": relayout(np.arange(12.0).reshape(3, 4), how)}
    opt = gm.Optimizer(gm.adam(0.1), params)
    grads = {"w": np.ones((3, 4))}
    opt.step(grads)
    other = make(opt)
    opt.step(grads)
    other.step(grads)
    assert bits((other.params, other.state)) == bits((opt.params, opt.state))
    assert not np.shares_memory(other.params["w"], params["w"])


@pytest.mark.parametrize("make", COPIES)
def test_files_and_read_only_arrays(make: Any, tmp_path: Path) -> None:
    """A copy lies in memory and can be written to, whatever became of the arrays it is from."""
    mapped = np.memmap(tmp_path / "params", np.float32, "w+", shape=(5,))
    frozen = np.zeros(3)
    opt = gm.Optimizer(gm.sgd(1.0, momentum=0.5), [mapped, frozen])
    grads = [np.ones(5, np.float32), np.ones(3)]
    opt.step(grads)
    frozen.flags.writeable = False
    other = make(opt)
    assert other.step(grads).step == 2
    np.testing.assert_array_equal(other.params[0], np.full(5, -2.5))
    np.testing.assert_array_equal(np.fromfile(tmp_path / "params", np.float32), np.full(5, -1))
    with pytest.raises(gm.errors.LeafValueError, match=r"params\[1\]: .*read-only"):
        opt.step(grads)


def test_buffers_out_of_band() -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.zeros(5))
    opt.step(np.ones(5))
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(opt, 5, buffer_callback=buffers.append)
    other = pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])
    assert opt.step(np.ones(5)) == other.step(np.ones(5))
    assert bits((other.params, other.state)) == bits((opt.params, opt.state))


@pytest.mark.parametrize("make", COPIES)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_rounding_at_random_goes_on(dtype: Any, make: Any) -> None:
    start = np.ones(50, dtype)
    opt = gm.Optimizer(gm.sgd(1e-3), start.copy(), rounding="stochastic", seed=2**40 + 3)
    opt.step(np.ones(50, dtype))
    other = make(opt)
    same = [each.step(np.ones(50, dtype)) for each in (opt, other)]
    assert same[0] == same[1]
    assert bits(other.params) == bits(opt.params)
    other.init_from(other.state, steps=0)
    assert other.step(np.ones(50, dtype)).step == 1


class Named(gm.Optimizer):
    """With an attribute more."""

    def __init__(self, name: str, params: Any) -> None:
        self.name = name
        super().__init__(gm.adam(0.1), params)
        self.notes = [name]


@pytest.mark.parametrize("make", COPIES)
def test_subclasses_keep_their_attributes(make: Any) -> None:
    other = make(Named("ours", np.zeros(2)))
    assert type(other) is Named
    assert (other.name, other.notes) == ("ours", ["ours"])
    assert other.step(np.ones(2)).step == 1


class Half:
    """A schedule that knows its optimizer."""

    opt: gm.Optimizer

    def __call__(self, step: Any) -> float:
        return 0.5


def test_a_schedule_may_know_its_optimizer() -> None:
    schedule = Half()
    schedule.opt = gm.Optimizer(gm.sgd(schedule), np.zeros(2))
    for other in (copy.deepcopy(schedule.opt), pickle.loads(pickle.dumps(schedule.opt))):
        other.step(np.ones(2))
        np.testing.assert_array_equal(other.params, [-0.5, -0.5])
    assert not schedule.opt.params.any()


def own_adam(learning_rate: float) -> gm.GradientTransformation:
    return gm.adam(learning_rate)


def test_a_step_that_is_not_finished_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arrays are one step ahead of what the host keeps; the copy has both at that step."""
    tx = gm.apply_if_finite(gm.inject_hyperparams(own_adam)(gm.linear_schedule(0.1, 0.0, 9)))
    opt, whole = (gm.Optimizer(tx, np.zeros(3)) for _ in range(2))

    def interrupted(self: Any) -> Any:
        if self._pending is None:
            return states(self)
        raise KeyboardInterrupt

    opt.step(np.ones(3))
    states = gm.Optimizer._states
    monkeypatch.setattr(gm.Optimizer, "_states", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opt.step(np.ones(3))
    monkeypatch.setattr(gm.Optimizer, "_states", states)
    other = copy.deepcopy(opt)
    for _ in range(2):
        whole.step(np.ones(3))
    for _ in range(2):
        assert other.step(np.ones(3)) == whole.step(np.ones(3))
    assert bits((other.params, other.state)) == bits((whole.params, whole.state))


def test_a_copy_is_bound_to_nothing_of_the_first() -> None:
    """Two optimizers of one MultiSteps, by turns."""
    opt = gm.Optimizer(gm.MultiSteps(gm.sgd(1.0), 2), np.zeros(1))
    opt.step(np.ones(1))
    other = copy.copy(opt)
    assert other._tx is opt._tx
    opt.step(np.ones(1))
    assert (opt.state.mini_step, other.state.mini_step) == (0, 1)
    other.step(np.full(1, 3.0))
    np.testing.assert_array_equal([opt.params, other.params], [[-1.0], [-2.0]])


def test_a_torn_optimizer_is_not_copied() -> None:
    code = """
    import copy, pickle
    import numpy as np
    import gradmill as gm
    from gradmill import _core

    opt = gm.Optimizer(gm.adam(0.1), {"w": np.zeros(3)})
    opt.step({"w": np.ones(3)})
    kept, state = {"w": opt.params["w"].copy()}, copy.deepcopy(opt.state)

    def refuses(call):
        try:
            call()
        except RuntimeError as error:
            return "broke off" in str(error)

    _core.plant_panic(0)
    try:
        opt.step({"w": np.ones(3)})
    except RuntimeError:
        _core.plant_panic(-1)
    assert refuses(lambda: pickle.dumps(opt)) and refuses(lambda: copy.copy(opt))
    opt.load(kept)
    assert refuses(lambda: opt.step({"w": np.ones(3)}))
    opt.params["w"] = kept["w"]
    assert refuses(lambda: opt.load(opt.params))
    opt.load(opt.params, state)
    print(copy.deepcopy(opt).step({"w": np.ones(3)}).step)
    """
    assert python(code, planted=True) == "2"


def test_to_pickle_in_the_middle_of_a_step_is_refused() -> None:
    refused = []

    def schedule(step: Any, opt: Any = None) -> float:
        if made:
            with pytest.raises(RuntimeError, match="inside a step") as caught:
                copy.deepcopy(made[0])
            refused.append(caught)
        return 0.1

    made: list[Any] = []
    made.append(gm.Optimizer(gm.sgd(functools.partial(schedule)), np.zeros(2)))
    made[0].step(np.ones(2))
    assert len(refused) == 1
