"""Import, threads, environment, forks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import gradmill as gm
from gradmill import _core
from tests.processes import python


def test_import_is_light() -> None:
    code = "import sys, gradmill; print([m for m in ('jax', 'optax', 'scipy') if m in sys.modules])"
    assert python(code) == "[]"


def test_importing_starts_no_thread() -> None:
    code = "import gradmill, os; print(len(os.listdir('/proc/self/task')))"
    assert python(code, OPENBLAS_NUM_THREADS="1") == "1"


def test_environment() -> None:
    show = "import gradmill; print(*list(gradmill.build_info().values())[-3:])"
    both = python(show, GRADMILL_SIMD="scalar", GRADMILL_NUM_THREADS="3")
    assert both == "scalar 3 GRADMILL_NUM_THREADS"
    rayon = python(show, RAYON_NUM_THREADS="5", GRADMILL_NUM_THREADS="")
    assert rayon.endswith("5 RAYON_NUM_THREADS")
    wrong = python(show, fails=True, GRADMILL_SIMD="sse9")
    assert 'GRADMILL_SIMD: "sse9" is none of scalar, avx2, avx512' in wrong


def test_build_info() -> None:
    info = gm.build_info()
    assert (info["profile"], info["version"]) == ("release", gm.__version__)
    assert info["simd"] in ("scalar", "avx2", "avx512")


def test_thread_counts() -> None:
    gm.set_num_threads(5)
    assert gm.build_info()["threads"] == 5
    gm.set_num_threads(0)
    assert gm.build_info()["threads_from"] != "set_num_threads"
    with pytest.raises(ValueError, match="number of threads"):
        gm.set_num_threads(-1)
    with pytest.raises(ValueError, match="number of threads"), gm.num_threads(0):
        pass


def test_unknown_tier() -> None:
    with pytest.raises(ValueError, match="none of scalar"):
        _core.force("sse9")


SHOW = "import gradmill; print(*list(gradmill.build_info().values())[-2:])"


def test_affinity() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); " + SHOW
    threads = python(code, GRADMILL_NUM_THREADS="", RAYON_NUM_THREADS="")
    assert threads == "1 affinity and cgroup quota"


def test_a_forked_worker_looks_again() -> None:
    """A pool whose workers bind themselves to processors gets as many threads as these."""
    code = """
    import os
    import gradmill as gm

    assert gm.build_info()["threads"] == len(os.sched_getaffinity(0))
    if os.fork() == 0:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        os._exit(gm.build_info()["threads"])
    print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert python(code, GRADMILL_NUM_THREADS="", RAYON_NUM_THREADS="") == "1"


QUOTAS = {
    "/sys/fs/cgroup": {"cpu.max": "100000 100000"},
    "/sys/fs/cgroup/cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"},
}
"""One processor's time, for both versions of control groups."""


@pytest.mark.parametrize("root", QUOTAS)
def test_cgroup_quota(root: str) -> None:
    group = Path(root) / f"gradmill-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    try:
        if not all((group / name).exists() for name in QUOTAS[root]):
            pytest.skip("this version is not in use")
        for name, value in QUOTAS[root].items():
            (group / name).write_text(value)
        join = f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid())); "
        threads = python(join + SHOW, GRADMILL_NUM_THREADS="", RAYON_NUM_THREADS="")
        assert threads == "1 affinity and cgroup quota"
    finally:
        group.rmdir()


def test_threads_that_cannot_be_started() -> None:
    """Without address space for their stacks fewer do the work, with the same bits."""
    code = """
    import resource
    import numpy as np
    import gradmill as gm

    def run():
        params = np.linspace(-1, 1, 600_000, dtype=np.float32)
        opt = gm.Optimizer(gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1)), params)
        yield
        with gm.num_threads(64):
            opt.step(np.ones_like(params))
        yield gm.state_digest((opt.params, opt.state))

    limited, free = run(), run()
    next(limited), next(free)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, before[1]))
    first = next(limited)
    threads = len(__import__("os").listdir("/proc/self/task"))
    resource.setrlimit(resource.RLIMIT_AS, before)
    assert first == next(free)
    print(threads < 33)
    """
    assert python(code) == "True"


def test_absurd_numbers_of_threads() -> None:
    for count in (10**9, 2**70):
        gm.set_num_threads(count)
        assert gm.build_info()["threads"] == 1024
        with gm.num_threads(count):
            assert gm.global_norm(np.ones(4)) == 2
    for wrong in (1.5, "2", None):
        with pytest.raises(TypeError):
            gm.set_num_threads(wrong)  # type: ignore[arg-type]
