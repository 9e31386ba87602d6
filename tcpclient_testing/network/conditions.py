"""The network conditions that a test asks for: a value that is checked when made, and whose repr makes it again."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Optional, Union

from .shaper import Shaper

__all__ = ["Network", "checked_network"]

__unittest = True

Chunk = Union[int, tuple[int, int], None]
Splits = Union[tuple[int, ...], Mapping[int, tuple[int, ...]]]

# Without `chunk`, a rate is kept by sending pieces that take this long each (seconds).
_PIECE = 0.02


class Network:
    """How the stream that a client receives is split, delayed and throttled.

    - `chunk` is the number of bytes that the client gets at a time, or a pair ``(least, most)``: then each size is
      drawn at random from that range. Chunks also end at splits, and where the server has nothing more to send.
    - `splits` are offsets in the outgoing stream of a connection at which the stream is divided between two reads.
      Offset 0 is before the first byte that the server ever sends on the connection. Give a tuple for every connection,
      or a mapping from the number of a connection (from 1) to a tuple.
    - `latency` is the time before each chunk, in seconds.
    - `rate` is in bytes per second.
    - `seed` makes random sizes repeatable. If it is needed and not given, one is chosen. It is shown in the value's
      repr, which makes the same value again, and in the transcript.

    Raises `TypeError` or `ValueError`, naming the argument, for invalid values: sizes below 1, splits that don't rise,
    negative times, a rate that isn't greater than 0. Values are immutable, and can be compared.
    """

    __slots__ = ("chunk", "latency", "rate", "seed", "_splits")

    chunk: Chunk
    latency: float
    rate: Optional[float]
    seed: Optional[int]
    _splits: Splits

    def __init__(self, chunk: Chunk = None, splits: Union[Iterable[int], Mapping[int, Iterable[int]]] = (),
                 latency: float = 0.0, rate: Optional[float] = None, seed: Optional[int] = None) -> None:
        chunk = _checked_chunk(chunk)
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise TypeError(f"Network(seed=...) is an integer, not {type(seed).__name__}: {seed!r}")
        if seed is None and isinstance(chunk, tuple):
            seed = random.SystemRandom().randrange(2**32)
        set_ = super().__setattr__
        set_("chunk", chunk)
        set_("_splits", _checked_splits(splits))
        set_("latency", _checked_number("latency", latency, "seconds"))
        set_("rate", None if rate is None else _checked_number("rate", rate, "bytes per second", positive=True))
        set_("seed", seed)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Network can't be changed: make another one to set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Network can't be changed: {name} stays")

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value, default in self._options() if value != default]
        return f"Network({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        return self._options() == other._options() if isinstance(other, Network) else NotImplemented

    def __hash__(self) -> int:
        return hash(repr(self))

    def __reduce__(self) -> Any:
        return Network, tuple(value for _, value, _ in self._options())

    def _options(self) -> tuple[tuple[str, Any, Any], ...]:
        return (("chunk", self.chunk, None), ("splits", self.splits, ()), ("latency", self.latency, 0.0),
                ("rate", self.rate, None), ("seed", self.seed, None))

    @property
    def splits(self) -> Splits:
        """The offsets at which streams are split: a tuple for all connections, or a dictionary by connection number."""
        return self._splits if isinstance(self._splits, tuple) else dict(self._splits)

    def splits_of(self, number: int) -> tuple[int, ...]:
        """Return the offsets at which to split the stream of connection `number` (from 1)."""
        return self._splits if isinstance(self._splits, tuple) else self._splits.get(number, ())

    def shaper(self, number: int, offset: int = 0) -> Optional[Shaper]:
        """Return the `Shaper` for what connection `number` is sent from `offset` on; None if no condition applies."""
        splits = self.splits_of(number)
        if self.chunk is None and not splits and not self.latency and self.rate is None:
            return None
        sizes = self.chunk
        if sizes is None and self.rate is not None:
            sizes = max(1, int(self.rate * _PIECE))
        if isinstance(sizes, tuple):
            # One random generator per connection: its sizes don't depend on what other connections do, or when.
            return Shaper(splits, sizes, self.latency, self.rate, offset, random.Random(f"{self.seed}/{number}"))
        return Shaper(splits, (sizes, sizes) if sizes else None, self.latency, self.rate, offset)


def checked_network(where: str, value: Any) -> Optional[Network]:
    """Return `value` if it is a `Network` or None; raise `TypeError` that names `where` for anything else."""
    if value is not None and not isinstance(value, Network):
        raise TypeError(f"{where} is a Network such as Network(chunk=1), or None, "
                        f"not {type(value).__name__}: {value!r}")
    return value


def _checked_size(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{where} is a number of bytes, not {type(value).__name__}: {value!r}")
    if value < 1:
        raise ValueError(f"{where} is a number of bytes from 1, not {value}")
    return value


def _checked_chunk(chunk: Any) -> Chunk:
    where = "Network(chunk=...)"
    if chunk is None:
        return None
    if not isinstance(chunk, (tuple, list)):
        return _checked_size(chunk, where)
    if len(chunk) != 2:
        raise ValueError(f"{where} is a number of bytes, or a pair (least, most) of them, not {chunk!r}")
    least, most = _checked_size(chunk[0], where), _checked_size(chunk[1], where)
    if least > most:
        raise ValueError(f"{where} is a pair (least, most), and {least} is more than {most}")
    return least, most


def _checked_splits(splits: Any) -> Splits:
    if not isinstance(splits, Mapping):
        return _checked_offsets("Network(splits=...)", splits)
    checked = {}
    for number in sorted(splits, key=repr):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"Network(splits=...) maps numbers of connections to offsets, not {number!r}")
        if number < 1:
            raise ValueError(f"Network(splits=...): connections are numbered from 1, {number} is none")
        checked[number] = _checked_offsets(f"Network(splits={{{number}: ...}})", splits[number])
    return checked


def _checked_offsets(where: str, offsets: Any) -> tuple[int, ...]:
    if isinstance(offsets, (int, str, bytes)) or not isinstance(offsets, Iterable):
        raise TypeError(f"{where} is a tuple of offsets such as (4, 17), not {offsets!r}")
    found = tuple(offsets)
    before = 0
    for offset in found:
        if isinstance(offset, bool) or not isinstance(offset, int):
            raise TypeError(f"{where} is a tuple of offsets, which are integers, not {offset!r}")
        if offset < 1:
            raise ValueError(f"{where}: an offset is greater than 0, since nothing comes before byte 0, not {offset}")
        if offset <= before:
            raise ValueError(f"{where}: offsets rise, and {offset} comes after {before}")
        before = offset
    return found


def _checked_number(name: str, value: Any, unit: str, *, positive: bool = False) -> float:
    where = f"Network({name}=...)"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{where} is a number of {unit}, not {type(value).__name__}: {value!r}")
    if not isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{where} is a number of {unit} {'greater than' if positive else 'not less than'} 0, "
                         f"not {value!r}")
    return float(value)
