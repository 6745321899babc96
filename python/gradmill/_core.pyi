from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypedDict, TypeVar, final

import numpy as np

__all__ = [
    "CHUNK",
    "CoreError",
    "Count",
    "Curve",
    "Host",
    "InPlace",
    "Nest",
    "Program",
    "Scalars",
    "allocations",
    "apply_trees",
    "apply_updates",
    "bias_correction",
    "build_info",
    "clear_cache",
    "count_not_finite",
    "force",
    "global_norm",
    "half_apply",
    "half_end",
    "half_plan",
    "half_sums",
    "half_total",
    "half_written",
    "in_default_mode",
    "list_ops",
    "noise_sum",
    "per_example_clip",
    "plant_panic",
    "set_num_threads",
    "split_key",
    "step_by",
    "tape_codes",
    "touch",
    "update_trees",
    "weighted_sum",
    "xla_handler",
    "xla_layout",
]

_T = TypeVar("_T")
_Leaves: TypeAlias = list[Any]
_Estimates: TypeAlias = list[tuple[float, float] | None]
_More: TypeAlias = tuple[list[bool], list[list[bool]], _Estimates]
_Found: TypeAlias = tuple[list[float | None], bool, _More | None]
_Key: TypeAlias = Sequence[int]
_Report: TypeAlias = tuple[int, float | None, bool, float | None, float | None, float | None]

_Part: TypeAlias = list[tuple[int, Any]]

class _Half(Protocol):
    scalars: list[float]
    off: int
    counts: bool
    absent: list[int]
    @property
    def known(self) -> list[list[float]]: ...

class _Pass(TypedDict):
    ops: list[int]
    source: str
    ends_for: int | None
    carries: bool
    measures: list[str]
    takes_params: bool
    before: list[int]
    fused: bool
    fused_in_codes: bool

class _Op(TypedDict):
    name: str
    scalars: list[str]
    slots: list[str]
    members: int
    params: bool
    finds: str | None

class _BuildInfo(TypedDict):
    version: str
    profile: str
    simd: str
    threads: int
    threads_from: str

CHUNK: Final[int]

class CoreError(Exception): ...

@final
class Program:
    def __new__(cls, ops: list[tuple[str, int, Sequence[int] | None]]) -> Program: ...
    def passes(self, scalars: list[float]) -> list[_Pass]: ...
    @property
    def reads_params(self) -> bool: ...
    def update(
        self,
        updates: _Leaves,
        params: _Leaves | None,
        slots: list[_Leaves],
        skip: list[int] | None,
        scalars: list[float],
        off: int = 0,
        threads: int = 0,
    ) -> tuple[_Leaves, list[_Leaves], _Found]: ...

@final
class Count:
    def __new__(cls) -> Count: ...
    def __reduce__(self) -> tuple[type[Count], tuple[()]]: ...

@final
class Scalars:
    def __new__(cls, scalars: Sequence[float | Count | Callable[[int], float]]) -> Scalars: ...
    def __call__(self, count: int, /) -> tuple[float, ...]: ...
    def __reduce__(self) -> tuple[type[Scalars], tuple[list[Any]]]: ...

_Written: TypeAlias = tuple[int, int, int, int]

@final
class Curve:
    def __new__(
        cls,
        constants: list[float],
        ops: list[_Written],
        result: int,
        schedule: Callable[[int], float],
    ) -> Curve: ...
    def __call__(self, count: int, /) -> float: ...
    def __reduce__(self) -> tuple[type[Curve], tuple[Any, ...]]: ...

@final
class Nest:
    def __new__(cls, described: Any) -> Nest: ...
    def take(self, tree: Any, kinds: tuple[type[Any], ...]) -> _Leaves | None: ...
    def build(self, leaves: _Leaves) -> Any: ...

@final
class Host:
    def __new__(
        cls,
        nest: Nest,
        constants: list[float],
        ops: list[_Written],
        functions: list[Callable[[int], Any]],
        cells: list[tuple[int, int, str, float | None, str | None, int, int | None]],
        slots: list[int],
        links: Sequence[Any],
    ) -> Host: ...

@final
class InPlace:
    def __new__(
        cls,
        program: Program,
        params: _Leaves,
        slots: list[_Leaves],
        skip: list[int] | None,
        clocks: list[tuple[np.ndarray[Any, Any] | None, Scalars]],
        watched: tuple[Any, list[int], list[int] | None],
        masters: _Leaves | None = None,
        seed: _Key | None = None,
    ) -> InPlace: ...
    def holds(self, params: Any, master: Any) -> bool: ...
    def step_soon(
        self, params: Any, master: Any, updates: Any, threads: Callable[[], int]
    ) -> _Report | None: ...
    def step(
        self, updates: _Leaves, threads: int = 0, measures: bool = False, spends: bool = False
    ) -> _Report: ...
    def learn(self, params: Any, master: Any, updates: Any) -> None: ...
    def step_with(
        self,
        updates: _Leaves,
        scalars: list[float],
        off: int = 0,
        threads: int = 0,
        measures: bool = False,
        spends: bool = False,
    ) -> None: ...
    def spent(self) -> list[int]: ...
    def sizes(self) -> list[float] | None: ...
    def last(self) -> tuple[int, _Found | None]: ...
    def restart(self, steps: int) -> None: ...

def allocations() -> int: ...
def apply_trees(nest: Nest, params: _T, updates: Any, threads: int = 0) -> _T | None: ...
def apply_updates(params: _Leaves, updates: _Leaves, threads: int = 0) -> _Leaves: ...
def bias_correction(decay: float, count: float) -> float: ...
def build_info() -> _BuildInfo: ...
def clear_cache() -> int: ...
def count_not_finite(updates: _Leaves, threads: int = 0) -> int: ...
def force(simd: str | None = None, fuse: bool = True) -> None: ...
def global_norm(updates: _Leaves, threads: int = 0) -> float: ...
def half_apply(bound: InPlace, updates: _Part, half: _Half, threads: int) -> None: ...
def half_end(bound: InPlace, counts: bool) -> _Report: ...
def half_plan(bound: InPlace) -> list[float]: ...
def half_sums(
    bound: InPlace, updates: _Part, half: _Half, before: Sequence[Sequence[float]], threads: int
) -> list[list[float]]: ...
def half_total(rows: Sequence[Sequence[float]]) -> list[float]: ...
def half_written(bound: InPlace) -> list[int]: ...
def in_default_mode(function: Callable[..., _T], /, *args: Any) -> _T: ...
def list_ops() -> list[_Op]: ...
def noise_sum(
    sums: _Leaves,
    bases: list[Any | None],
    wide: list[bool],
    keys: Sequence[_Key],
    weights: list[float],
    threads: int = 0,
) -> None: ...
def per_example_clip(
    updates: _Leaves,
    l2_norm_clip: float,
    uniform: bool | None = None,
    batched: bool = True,
    threads: int = 0,
) -> tuple[_Leaves, list[int]]: ...
def plant_panic(after: int) -> bool: ...
def set_num_threads(count: int) -> None: ...
def split_key(key: _Key, index: int) -> list[int]: ...
def step_by(
    bound: InPlace,
    trees: Sequence[Any],
    leaves_of: Callable[[Any], _Leaves],
    host: Host,
    states: list[Any],
    wide: bool,
    threads: Callable[[], int],
    measures: bool,
    spends: bool,
) -> tuple[_Report, list[tuple[int, Any]]] | None: ...
def tape_codes() -> list[tuple[str, int]]: ...
def touch(
    updates: np.ndarray[Any, Any],
    arrays: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]],
    norm: bool,
    threads: int = 0,
) -> None: ...
def update_trees(
    program: Program,
    host: Host,
    nest: Nest,
    updates: Any,
    params: Any,
    state: Any,
    wide: bool | None = None,
    threads: int = 0,
) -> tuple[Any, Any] | None: ...
def weighted_sum(
    sums: _Leaves,
    terms: list[_Leaves],
    weights: list[float],
    own: float | None = None,
    threads: int = 0,
) -> None: ...
def xla_handler() -> object: ...
def xla_layout() -> list[tuple[str, int]]: ...
