"""Checkpoints of shards: a file for each process, and an index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradmill._data.trees import flatten, leaf_path
from gradmill.checkpoints import load, save
from gradmill.errors import CheckpointError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from gradmill.distributed._shard import Shard

INDEX = "index.json"


def write_shard(
    directory: str | os.PathLike[str],
    shard: Shard,
    place: tuple[int, int],
    signature: dict[str, Any],
    steps: int,
) -> Callable[[], None]:
    """Write the file of one process.

    Returns:
        What is to be done once all have written theirs.
    """
    folder, (rank, size) = Path(directory), place
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"shard-{steps}-{one}-of-{size}.npz" for one in range(size)]
    save(folder / names[rank], arrays=_arrays_of(shard))

    def finish() -> None:
        if rank == 0:
            index = {"steps": steps, "files": names, **signature}
            beside = folder / f"{INDEX}.new"
            beside.write_text(json.dumps(index, indent=1))
            beside.replace(folder / INDEX)
            for old in folder.glob("shard-*.npz"):
                if old.name not in names:
                    old.unlink()

    return finish


def read_shards(directory: str | os.PathLike[str], shard: Shard, signature: dict[str, Any]) -> None:
    """Have a shard go on with what is in the files, whoever has written them.

    Raises:
        CheckpointError: There is no index, or one of other parameters, or an array is missing.
    """
    folder = Path(directory)
    try:
        index = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / INDEX}: is no index of a checkpoint ({error})") from None
    for name, value in signature.items():
        if index.get(name) != value:
            raise CheckpointError(f"{folder / INDEX}: has other {name} than the parameters here")
    wanted = _arrays_of(shard)
    found: dict[str, Any] = {}
    for name in index["files"]:
        arrays = load(folder / name)["arrays"]
        found |= {key: arrays[key] for key in wanted.keys() & arrays.keys()}
        if len(found) == len(wanted):
            break
    missing = sorted(wanted.keys() - found.keys())
    if missing:
        raise CheckpointError(f"{folder / INDEX}: no file has {missing[0]}")
    state_spec = flatten(shard.state)[1]
    params = {number: found[_key(number)] for number in shard.params}
    state = state_spec.unflatten(
        [found[leaf_path(state_spec, at, "state")] for at in range(state_spec.num_leaves)]
    )
    shard.load(params, state, steps=index["steps"])


def _arrays_of(shard: Shard) -> dict[str, Any]:
    """The arrays of a shard, by where they stand in trees by the numbers of pieces."""
    leaves, spec = flatten(shard.state)
    arrays = {leaf_path(spec, at, "state"): leaf for at, leaf in enumerate(leaves)}
    masters = flatten(shard.master)[0]
    return arrays | {
        _key(number): master for number, master in zip(sorted(shard.params), masters, strict=True)
    }


def _key(number: int) -> str:
    """The name of a parameter's array: of its master copy, where there is one."""
    return f"params[{number}]"
