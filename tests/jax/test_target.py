"""The custom call itself: each mode against a program over NumPy arrays, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import ffi

import gradmill as gm
from gradmill.jax._target import TARGET, target_ready
from tests.jax.calls import (
    ADAM,
    ADAMW,
    BF16,
    CLIP,
    DECAY,
    ESTIMATING,
    NOISE,
    PRODIGY,
    RATE,
    STEP,
    SUMS,
    TRACE,
    UPDATE,
    Call,
    Leaf,
    Op,
    arrays,
    fixed,
    function,
    leaves_of,
    on_numpy,
    run,
)
from tests.jax.versions import enable_x64
from tests.processes import python
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(autouse=True)
def _registered() -> None:
    assert target_ready()


CHAINS: dict[str, list[Op]] = {
    "nothing": [],
    "adamw": ADAMW,
    "clip": [CLIP, *ADAMW],
    "clip_behind_state": [TRACE, CLIP, RATE],
    "finite": [Op("apply_if_finite", (0.0,), 2), TRACE, RATE],
    "accepted": [Op("apply_if_finite", (1.0,), 2), TRACE, RATE],
    "estimates": [RATE, PRODIGY, CLIP],
    "nans": [Op("zero_nans"), TRACE, Op("zero_nans")],
    "noise": [NOISE, TRACE, Op("add_noise", (0.1, 1.0, 2.0))],
    "units": [Op("centralize"), TRACE, Op("adaptive_grad_clip", (0.1, 1e-3)), RATE],
    "axes": [Op("centralize", axes=(0,)), Op("clip_by_block_rms", (0.1,)), CLIP, TRACE],
    "all_axes": [Op("centralize", axes=()), RATE],
    "two_gates": [
        CLIP,
        Op("apply_if_finite", (0.0,), 3),
        Op("zero_nans"),
        Op("apply_if_finite", (0.0,), 1),
        TRACE,
    ],
}

DTYPES = {
    "float32": (np.float32,) * 3,
    "bfloat16": (BF16,) * 3,
    "wide_state": (BF16, BF16, np.float32),
    "mixed": (np.float16, np.float32, BF16),
}


@pytest.mark.parametrize("mode", [UPDATE, STEP])
@pytest.mark.parametrize("dtypes", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("ops", CHAINS.values(), ids=CHAINS)
def test_the_bits_are_those_on_numpy_arrays(ops: list[Op], dtypes: Any, mode: int) -> None:
    call, leaves = Call(ops, mode), leaves_of(ops, dtypes)
    assert bits(run(call, leaves)) == bits(on_numpy(call, leaves))
    for at, leaf in enumerate(leaves):
        leaf.skip |= (0, 0b101, ~0 % 2**64, 0b010, 1 << 63)[at]
    leaves[3].update[1, :3] = [np.nan, np.inf, -0.0]
    assert bits(run(call, leaves)) == bits(on_numpy(call, leaves))


@pytest.mark.parametrize("mode", [UPDATE, STEP])
@pytest.mark.parametrize("ops", CHAINS.values(), ids=CHAINS)
def test_float64(ops: list[Op], mode: int) -> None:
    call = Call(ops, mode)
    with enable_x64(True):
        for dtypes in [(np.float64,) * 3, (np.float32, np.float64, BF16), (np.float64, BF16, "f4")]:
            for scale in (1.0, 1e200, 1e-200):
                leaves = leaves_of(ops, dtypes, scale=scale if dtypes[0] == np.float64 else 1.0)
                assert bits(run(call, leaves)) == bits(on_numpy(call, leaves))


def in_parts(call: Call, leaves: Sequence[Leaf], cuts: Sequence[slice]) -> list[Any]:
    """The results of calls for some of the leaves each, without what is found for the whole."""
    known: list[Any] = []
    noise = [bit for bit, op in enumerate(call.ops) if op.name == "add_noise"]

    def drawn(cut: slice, ops: Sequence[Op]) -> list[int]:
        before = leaves[: cut.start]
        return [sum(not x.skip >> bit & 1 for x in before) for bit in noise if bit < len(ops)]

    def what_is_known() -> Any:
        return jnp.stack(known) if known else None

    for at, op in enumerate(call.ops):
        if op.name in {"clip_by_global_norm", "apply_if_finite", *ESTIMATING}:
            ops = call.ops[: at + 1]
            rows = [
                run(replace(call, ops=ops, mode=SUMS, known=what_is_known(), drawn=drawn(cut, ops)),
                    leaves[cut])[0]
                for cut in cuts
            ]  # fmt: skip
            known.append(jnp.concatenate(rows))
    made = []
    for cut in cuts:
        own = replace(call, known=what_is_known(), drawn=drawn(cut, call.ops))
        made += run(own, leaves[cut])[:-1]
    return made


PARTS: dict[str, list[Op]] = {
    "clip": [CLIP, *ADAMW],
    "rate_clip": [RATE, DECAY, CLIP, TRACE, NOISE],
    "two": [NOISE, CLIP, RATE, Op("clip_by_global_norm", (0.01,)), TRACE],
    "finite": [Op("clip", (1e300,)), Op("apply_if_finite", (0.0,), 2), CLIP, TRACE, RATE],
    "units": [Op("centralize"), Op("adaptive_grad_clip", (0.1, 1e-3)), CLIP, TRACE],
    "estimates": [CLIP, DECAY, PRODIGY, RATE],
}


@pytest.mark.parametrize(
    ("mode", "skips"), [(UPDATE, [0] * 5), (STEP, [0, 0b101, 0b1000, 0, 0b110])]
)
@pytest.mark.parametrize("ops", PARTS.values(), ids=PARTS)
def test_part_by_part_is_all_at_once(ops: list[Op], mode: int, skips: list[int]) -> None:
    call = Call(ops, mode)
    cuts = [slice(0, 2), slice(2, 3), slice(3, 5)]
    tries: list[tuple[Any, float]] = [(np.float32, 1.0), (np.float32, 0.0), (BF16, 1.0)]
    with enable_x64(True):
        for dtype, scale in [*tries, *((np.float64, scale) for scale in (1.0, 1e160, 1e-160))]:
            leaves = leaves_of(ops, (dtype,) * 3, scale=scale)
            for leaf, skip in zip(leaves, skips, strict=True):
                leaf.skip = skip
            for value in (None, np.nan, np.inf):
                if value is not None:
                    leaves[3].update[2, 2] = value
                assert bits(in_parts(call, leaves, cuts)) == bits(on_numpy(call, leaves)[:-1])


def test_sums_of_numbers_of_all_sizes() -> None:
    """Where some leaves of a tree leave the range of squares on either side, and others do not."""
    ops = [CLIP, TRACE]
    cuts = [slice(at, at + 1) for at in range(4)]
    with enable_x64(True):
        for sizes in [(1e170, 1.0, 1e-170, 1e100), (1e-170, 1e-140, 0.0, 1e-300), (1e153,) * 4]:
            leaves = [leaves_of(ops, ("f8",) * 3, [(7,)], size)[0] for size in sizes]
            call = Call(ops)
            assert bits(in_parts(call, leaves, cuts)) == bits(on_numpy(call, leaves)[:-1])


def test_ops_that_are_off() -> None:
    ops = CHAINS["two_gates"]
    leaves = leaves_of(ops)
    leaves[0].update[0] = np.nan
    for off in (0, 0b1, 0b10, 0b100, 0b11010):
        call = Call(ops, words=(off, 0))
        assert bits(run(call, leaves)) == bits(on_numpy(call, leaves, off=off))
    # The 40th op has its bit in the second word.
    many = [Op("scale", (1.01,))] * 64
    call, leaves = Call(many, words=(0, 1 << 8)), leaves_of(many)
    assert bits(run(call, leaves)) == bits(on_numpy(call, leaves, off=1 << 40))
    assert bits(run(call, leaves)) != bits(on_numpy(call, leaves))


@pytest.mark.parametrize("count", [0, 1, 999, 2**31 - 1])
def test_scalars_that_programs_compute(count: int) -> None:
    ops = [ADAM, DECAY, RATE, NOISE]
    b1, b2, b1_single = 0.9, 0.999, float(np.float32(0.9))
    rows = [
        (1, 0, 2), (0, b2, 0), (0, 1e-8, 0), (0, 0, 0), (0, 0, 0), (0, 1, 0), (2, 0, 3),
        (0, 0.01, 0), (1, 0, 0), (0, 0.5, 0), (2, 0, 2), (2, 0, 4),
    ]  # fmt: skip
    words = (0, 0, 0xFFFFFFFF, count, 3)
    leaves = leaves_of(ops)
    for wide in (False, True):
        with enable_x64(wide):
            call = Call(ops, rows=rows, numbers=(-0.1, 7.0, b1), words=words)
            first, rate = (b1, -0.1) if wide else (b1_single, float(np.float32(-0.1)))
            adam = [first, b2, 1e-8, 0.0, 0.0, 1.0, count]
            scalars = [*adam, 0.01, rate, 0.5, 2.0**32 - 1, 3.0]
            assert bits(run(call, leaves)) == bits(on_numpy(call, leaves, scalars))


@pytest.mark.parametrize("name", ["clip", "units", "noise", "finite"])
def test_on_several_threads(name: str) -> None:
    ops = CHAINS[name]
    call = Call(ops, STEP)
    leaves = leaves_of(ops, shapes=[(3, 100_001), (7,), (140_001,)])
    expected = bits(on_numpy(call, leaves))
    for threads in (1, 2, 3):
        gm.set_num_threads(threads)
        try:
            assert bits(run(call, leaves)) == expected
        finally:
            gm.set_num_threads(0)


def test_subnormal_numbers() -> None:
    """Also on threads that a step started, whose mode is that of the one that starts them."""
    code = """
    import numpy as np, jax.numpy as jnp, jax
    import gradmill as gm
    from gradmill.jax import step
    gm.set_num_threads(4)
    update = step(gm.scale(1.0))
    tiny, ones = np.full(1 << 21, 1e-39, "f4"), np.ones(1 << 21, "f4")
    params, _ = jax.jit(update)(jnp.asarray(ones), update.init(tiny), jnp.asarray(tiny))
    assert (np.asarray(params) == 1).all()
    # Behind a call, XLA's own operations are in XLA's mode, and NumPy's in the default one.
    assert jax.jit(lambda x: (x * 0.5).max())(jnp.asarray(tiny)) == 0
    assert (tiny * np.float32(0.5) > 0).all()
    opt = gm.Optimizer(gm.scale(1.0), tiny.copy())
    opt.step(tiny)
    assert (opt.params.view("u4") == tiny.view("u4")).all()
    """
    python(code)


def test_batches() -> None:
    """With counts, bits and numbers of their own, one after the other and twice over."""
    ops = [Op("apply_if_finite", (0.0,), 2), ADAM, RATE, Op("zero_nans")]
    rows = [(0, v, 0) for op in ops for v in op.scalars]
    rows[7:9] = [(2, 0, 2), (1, 0, 0)]
    call = Call(ops, STEP, rows=rows)
    trees = [leaves_of(ops, shapes=[(3, 2), (), (0,)], seed=seed) for seed in range(6)]
    trees[2][1].update[()] = np.nan
    trees[4][0].update[0] = np.inf
    operands = [[jnp.asarray(array) for array in arrays(call, tree)] for tree in trees]
    firsts = [
        [jnp.array([0.1 * at]), jnp.array([at == 5, 0, at * at], jnp.uint32)] for at in range(6)
    ]
    known = jnp.zeros((0, 1, 6), jnp.uint32)
    whole = function(call, trees[0])
    single = jax.jit(lambda *rest: whole(*rest[:2], known, *rest[2:]))
    calls = [[*first, *rest] for first, rest in zip(firsts, operands, strict=True)]
    expected = [single(*row) for row in calls]
    stacked = [jnp.stack(column) for column in zip(*calls, strict=True)]
    got = jax.jit(jax.vmap(single))(*stacked)
    for at in range(6):
        assert bits([np.asarray(x)[at] for x in got]) == bits([np.asarray(x) for x in expected[at]])
    nested = [x.reshape(2, 3, *x.shape[1:]) for x in stacked]
    twice = jax.jit(jax.vmap(jax.vmap(single), in_axes=1, out_axes=1))(*nested)
    flat = [np.asarray(x).reshape(6, *x.shape[2:]) for x in twice]
    assert bits(flat) == bits([np.asarray(x) for x in got])


def test_memory() -> None:
    """Donated arrays are replaced in place; others stay as they are."""
    call, ops = Call(ADAMW, STEP), ADAMW
    leaves = leaves_of(ops, shapes=[(100,), (3, 40)])
    program = function(call, leaves)
    donated = [at for at in range(3, 11) if (at - 3) % 4]
    operands = [*fixed(call), *map(jnp.array, arrays(call, leaves))]
    kept = bits([np.asarray(x) for x in operands])
    expected = bits([np.asarray(x) for x in jax.jit(program)(*operands)])
    assert bits([np.asarray(x) for x in operands]) == kept
    before = [operands[at].unsafe_buffer_pointer() for at in donated]
    made = jax.jit(program, donate_argnums=donated, keep_unused=True)(*operands)
    assert [array.unsafe_buffer_pointer() for array in made[:-1]] == before
    assert bits([np.asarray(x) for x in made]) == expected


@pytest.mark.parametrize("donated", [(), (0,)])
def test_one_array_in_all_places(donated: tuple[int, ...]) -> None:
    ops = [DECAY, TRACE, Op("ema", (0.5, 0.0, 0.0))]
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000).astype("f4")
    for mode in (UPDATE, STEP):
        call = Call(ops, mode)
        leaves = [Leaf(x, x, [x, x]), Leaf(x, x, [x, x])]
        program = function(call, leaves)
        one = jax.jit(lambda x, f=program, c=call: f(*fixed(c), *[x] * 8), donate_argnums=donated)
        assert bits([np.asarray(y) for y in one(jnp.array(x))]) == bits(on_numpy(call, leaves))


F4 = np.arange(5, dtype="f4")
ONE = [Leaf(F4, F4, [F4])]
WRONG: dict[str, tuple[Call, list[Leaf], str]] = {
    "int32": (Call([RATE]), [Leaf(F4.astype("i4"), F4, [])], "operand 3 is int32, no array of"),
    "words": (Call([RATE]), [Leaf(F4.astype("u4"), F4, [])], "leaf 0: an array holds words"),
    "lengths": (Call([DECAY]), [Leaf(F4, F4, []), Leaf(F4, F4[:3], [])], "leaf 1: arrays differ"),
    "no_op": (Call([], others={"ops": "adam:0:*"}), [], 'unknown op "adam"'),
    "text": (Call([], others={"ops": "scale"}), [], '"scale" is no op'),
    "axes": (Call([], others={"ops": "centralize:0:a"}), [], '"centralize:0:a" is no op'),
    "units": (Call([Op("centralize", axes=(3,))]), ONE, "leaf 0: .* \\(centralize\\)"),
    "few_scalars": (Call([ADAM], rows=[(0, 0, 0)]), [], "1 scalars for 7"),
    "more_scalars": (Call([RATE], rows=[(0, 0, 0)] * 2), [], "2 scalars for 1"),
    "row": (Call([RATE], rows=[(0, 0)]), [], "rows of 3"),
    "kind": (Call([RATE], rows=[(9, 0, 0)]), [], "a scalar is of kind 9"),
    "number": (Call([RATE], rows=[(1, 0, 1)]), [], "a number is missing"),
    "word": (Call([RATE], rows=[(2, 0, 2)]), [], "a word is missing"),
    "nan": (Call([RATE], rows=[(1, 0, 0)], numbers=[np.nan]), [], "scale: step_size is nan"),
    "no_words": (Call([RATE], words=[0]), [], "words are missing"),
    "mode": (Call([RATE], others={"mode": np.int64(3)}), [], "mode is 3"),
    "mode_kind": (Call([RATE], others={"mode": "step"}), [], "attribute mode is of another kind"),
    "mode_dtype": (Call([RATE], others={"mode": np.int32(1)}), [], "is int32, expected int64"),
    "step": (Call([RATE], STEP, params=False), [], "a step needs params"),
    "params": (Call([DECAY], params=False), ONE, "leaf 0: params are missing"),
    "sums_params": (Call([DECAY, CLIP], SUMS, params=False), ONE, "leaf 0: params are missing"),
    "sums_of": (Call([CLIP, RATE], SUMS), ONE, "sums are for an op that spans leaves"),
    "sums_of_nothing": (Call([], SUMS), ONE, "sums are for an op that spans leaves"),
    "sums_state": (Call([TRACE, CLIP], SUMS), ONE, "without state before it"),
    "known": (Call([CLIP], known=jnp.zeros((1, 1, 4), "u4")), ONE, "known has shape"),
    "known_few": (Call([CLIP], known=jnp.zeros((1, 1, 6), "u4")), ONE * 2, "known has shape"),
    "known_many": (Call([CLIP], known=jnp.zeros((2, 1, 6), "u4")), ONE, "at most 1 ops"),
    "known_state": (Call([TRACE, CLIP], known=jnp.zeros((1, 1, 6), "u4")), ONE, "at most 0 ops"),
    "drawn": (Call([NOISE], drawn=[]), ONE, "drawn is no list of 1 counts"),
    "drawn_back": (Call([NOISE], drawn=[-1]), ONE, "drawn is no list of 1 counts"),
    "skip": (Call([TRACE], others={"skip": np.zeros(2, np.int64)}), ONE, "leaf 1: an update is"),
    "left": (Call([TRACE], others={"skip": np.zeros(0, np.int64)}), ONE, "are left over"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_exceptions(name: str) -> None:
    call, leaves, expected = WRONG[name]
    with pytest.raises(
        jax.errors.JaxRuntimeError, match=f"INVALID_ARGUMENT: gradmill: .*{expected}"
    ):
        jax.block_until_ready(run(call, leaves))
    # All is well afterwards.
    good = Call(ADAMW, STEP)
    assert bits(run(good, leaves_of(ADAMW))) == bits(on_numpy(good, leaves_of(ADAMW)))


def test_results_of_another_dtype() -> None:
    for shapes, expected in [
        ([("f4", 5), (BF16, 5), ("u4", 1)], "an array changes its dtype"),
        ([(BF16, 5), ("f4", 5), ("u4", 1)], "out is bfloat16, the chain computes in float32"),
        ([("f4", 5), ("f4", 5), ("f4", 1)], "the last result is too short, or no words"),
        ([("f4", 4), ("f4", 5), ("u4", 1)], "leaf 0: arrays differ in length"),
        ([("f4", 5), ("u4", 1)], "leaf 0: operands or results are missing"),
        ([("f4", 5), ("f4", 5), ("f4", 5), ("u4", 1)], "are left over"),
    ]:
        structs = [jax.ShapeDtypeStruct((length,), dtype) for dtype, length in shapes]
        call = Call([TRACE])
        program = ffi.ffi_call(TARGET, structs)
        with pytest.raises(jax.errors.JaxRuntimeError, match=expected):
            jax.block_until_ready(
                program(*fixed(call), F4, F4, F4, skip=np.zeros(1, np.int64), **call.attributes)
            )


def test_a_panic_is_an_exception() -> None:
    code = """
    import jax, jax.numpy as jnp
    import gradmill as gm
    from gradmill import _core
    from gradmill.jax import step
    update = jax.jit(step(gm.adam(0.1)))
    params = jnp.ones(3)
    state = step(gm.adam(0.1)).init(params)
    assert _core.plant_panic(0)
    try:
        jax.block_until_ready(update(params, state, params))
    except jax.errors.JaxRuntimeError as error:
        print(error)
    jax.block_until_ready(update(params, state, params))
    """
    text = python(code, planted=True)
    assert "INTERNAL: gradmill: " in text
    assert "please report this as a bug of gradmill" in text


def test_a_forked_process_takes_steps() -> None:
    """JAX itself does not work there, but may not be made to hang by threads of a pool."""
    code = """
    import os, sys, warnings
    import numpy as np, jax, jax.numpy as jnp
    import gradmill as gm
    from gradmill.jax import step
    warnings.simplefilter("ignore")
    gm.set_num_threads(2)
    update = jax.jit(step(gm.adam(0.1)))
    params = jnp.ones(1 << 19)
    jax.block_until_ready(update(params, step(gm.adam(0.1)).init(params), params))
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        opt = gm.Optimizer(gm.adam(0.1), np.ones(1 << 19, "f4"))
        opt.step(np.ones(1 << 19, "f4"))
        os._exit(17)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert python(code) == "17"


def test_it_is_registered_once_for_all_threads() -> None:
    code = """
    import threading
    import gradmill.jax
    from gradmill.jax._target import target_ready
    found = []
    threads = [threading.Thread(target=lambda: found.append(target_ready())) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(all(found), len(found))
    """
    assert python(code) == "True 8"


def test_import_makes_nothing_known_to_jax() -> None:
    """A target that is refused before there is a backend would spoil the backend."""
    code = """
    import gradmill.jax
    from jax._src import xla_bridge
    print(xla_bridge.backends_are_initialized())
    from gradmill.jax._target import target_ready
    print(target_ready.cache_info().currsize)
    """
    assert python(code).split() == ["False", "0"]
