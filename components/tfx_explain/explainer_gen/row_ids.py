"""A row's identity: a 128-bit keyed hash of its content, whatever order or process it was serialised in."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from tfx_explain.explainer_gen.columns import Column, Columns

ID_DTYPE = "S16"
KEY_DTYPE = "S24"
_HASH_KEY = b"tfx-explain row id v1"
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TOGETHER = 8  # columns whose intermediate results stay in the processor's cache
_LANE_OFFSETS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0x3C6EF372FE94F82A))


def row_ids(columns: Columns, raw: Sequence[bytes]) -> np.ndarray:
    """Ids of decoded rows: big-endian bytes, dtype S16 [rows].

    Each of a feature's values is mixed with its position and with seeds that BLAKE2b derives from the feature's name
    and kind; the results of a row are added modulo 2^64 in two independent lanes, and mixed again. So the id depends
    neither on the order of features nor on how the row was batched; an absent, an unset and an empty feature add
    nothing. An unreadable row is known by BLAKE2b of its bytes.

    References:
      The 64-bit mixer is splitmix64's finaliser (Steele, Lea and Flood 2014).
    """
    lanes = np.zeros((2, columns.rows), np.uint64)
    single: list[tuple[tuple[str, str], Column]] = []
    several: list[tuple[tuple[str, str], Column]] = []
    for key, column in columns.columns.items():
        (single if _has_one_each(column, columns.rows) else several).append((key, column))
    for start in range(0, len(single), _TOGETHER):
        _add_single(lanes, single[start : start + _TOGETHER])
    for key, column in several:
        _add_several(lanes, key, column)
    for lane in range(2):
        lanes[lane] = _mix(lanes[lane] + _LANE_OFFSETS[lane])
    out = np.empty((columns.rows, 2), ">u8")
    out[:, 0], out[:, 1] = lanes
    ids = np.ascontiguousarray(out).view(ID_DTYPE).reshape(-1)
    for i in np.nonzero(~columns.readable)[0]:  # broken rows are few
        ids[i] = _blake(b"unreadable" + raw[i], 16)
    return ids


def _has_one_each(column: Column, rows: int) -> bool:
    return len(column.values) == rows and bool((column.lengths == 1).all())


def _add_single(lanes: np.ndarray, columns: Sequence[tuple[tuple[str, str], Column]]) -> None:
    """Adds columns with one value in every row, all at once: `_add_several` for the position 0 and the count 1."""
    seeds = np.stack([_seeds(name, kind) for (name, kind), _ in columns])  # [columns, 4]
    values = np.stack([_bits(column.values, kind) for (_, kind), column in columns])  # [columns, 2, rows]
    for lane in range(2):
        place = _mix(seeds[:, lane] + _GOLDEN)
        mixed = _mix(values[:, lane] + place[:, None])
        lanes[lane] += _mix(mixed + seeds[:, 2 + lane, None]).sum(axis=0, dtype=np.uint64)


def _add_several(lanes: np.ndarray, key: tuple[str, str], column: Column) -> None:
    """Adds a column with any number of values a row."""
    name, kind = key
    seeds = _seeds(name, kind)
    position = (np.arange(len(column.values)) - np.repeat(column.offsets[:-1], column.lengths)).astype(np.uint64)
    values = _bits(column.values, kind)
    filled = column.lengths > 0
    starts = column.offsets[:-1][filled]
    count = column.lengths[filled].astype(np.uint64)
    for lane in range(2):
        place = _mix(seeds[lane] + (position + np.uint64(1)) * _GOLDEN)
        mixed = _mix(values[lane] + place)
        lanes[lane, filled] += _mix(np.add.reduceat(mixed, starts) + count * seeds[2 + lane])


@functools.lru_cache(maxsize=10_000)
def _seeds(name: str, kind: str) -> np.ndarray:
    return np.frombuffer(_blake(kind.encode() + name.encode(), 32), "<u8")


def cluster_ids(columns: Columns, raw: Sequence[bytes], ids: np.ndarray, cluster_key: str | None) -> np.ndarray:
    """Id of the cluster that each row belongs to: of its values of `cluster_key`; a row without one is its own cluster.

    Rows of one cluster are sampled together and share a hash bucket.
    """
    if cluster_key is None:
        return ids
    own = {key: column for key, column in columns.columns.items() if key[0] == cluster_key}
    known = np.zeros(columns.rows, bool)
    for column in own.values():
        known |= column.lengths > 0
    clusters = row_ids(Columns(own, np.ones(columns.rows, bool)), raw)
    return np.where(known, clusters, ids)


def order_keys(ids: np.ndarray, seed: int, clusters: np.ndarray | None = None) -> np.ndarray:
    """Keys that order the sample: 8 bytes that depend on the cluster (or id) and seed, then the id; S24 [rows]."""
    high = (ids if clusters is None else clusters).view(">u8").reshape(-1, 2)[:, 0].astype(np.uint64)
    salt = np.frombuffer(_blake(b"order" + str(seed).encode(), 8), "<u8")[0]
    out = np.empty((len(ids), 3), ">u8")
    out[:, 0] = _mix(high ^ salt)
    out[:, 1:] = ids.view(">u8").reshape(-1, 2)
    return np.ascontiguousarray(out).view(KEY_DTYPE).reshape(-1)


def ranks_of(keys: np.ndarray) -> np.ndarray:
    """First 64 bits of order keys, evenly distributed: uint64 [rows]."""
    return np.ascontiguousarray(keys.view("u1").reshape(-1, 24)[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def ids_of(keys: np.ndarray) -> np.ndarray:
    """The ids within order keys: S16 [rows]."""
    return np.ascontiguousarray(keys.view("u1").reshape(-1, 24)[:, 8:]).view(ID_DTYPE).reshape(-1)


def buckets(ids: np.ndarray) -> np.ndarray:
    """Hash bucket of each id, its first six bits: int64 [rows] in [0, 64)."""
    return (ids.view("u1").reshape(-1, 16)[:, 0] >> 2).astype(np.int64)


def hexadecimal(ids: np.ndarray) -> list[str]:
    """Ids as 32 hexadecimal digits."""
    return [row.tobytes().hex() for row in ids.view("u1").reshape(-1, 16)]


def _bits(values: np.ndarray, kind: str) -> np.ndarray:
    """Two lanes of 64 bits a value: uint64 [2, n]."""
    if kind == "b":
        distinct, inverse = np.unique(values, return_inverse=True)
        digests = np.frombuffer(b"".join(_blake(v, 16) for v in distinct), "<u8").reshape(-1, 2)
        return digests[inverse].T
    bits = values.astype(np.int64).view(np.uint64) if kind == "i" else values.astype(np.float32).view(np.uint32)
    return np.broadcast_to(bits.astype(np.uint64), (2, len(bits)))


def _mix(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _blake(data: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, digest_size=size, key=_HASH_KEY).digest()
