"""tf.Examples taken apart into features, and put together again."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf

_FIELD_1 = 0x0A  # tag of a message or string in field 1: Example.features, Features.feature, and an entry's key


def take_apart(examples: np.ndarray, features: Collection[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Takes the given features out of each row.

    Args:
        examples: serialised tf.Examples, bytes [rows].
        features: names.

    Returns:
        The rows without the features, bytes [rows], and by feature the rows with that one alone, bytes [rows]: its
        segment, `b""` where a row does not have it.

    References:
        https://protobuf.dev/programming-guides/encoding
    """
    names = {feature.encode(): feature for feature in features}
    rest = np.empty(len(examples), dtype=object)
    segments = {feature: np.full(len(examples), b"", dtype=object) for feature in features}
    for row, serialised in enumerate(examples):
        entries = _entries(serialised, names)
        if entries is None:
            entries = _entries(_rewritten(serialised), names)
            if entries is None:
                raise ValueError(f"examples must be serialised tf.Examples. Received: {serialised!r:.200}")
        others = []
        for key, entry in entries:
            if key in names:
                segments[names[key]][row] = _message(entry)
            else:
                others.append(entry)
        rest[row] = _message(b"".join(others))
    return rest, segments


def put_together(rest: np.ndarray, segments: Sequence[np.ndarray]) -> np.ndarray:
    """Rows made of their rest and of segments, bytes [rows].

    Messages that are written one after the other are one message to protobuf, and to TensorFlow's parser.
    """
    rows = rest
    for segment in segments:
        rows = rows + segment
    return rows


def _rewritten(serialised: bytes) -> bytes:
    """The same features as protobuf writes them: in one piece, each once and by its name."""
    example, rewritten = tf.train.Example.FromString(serialised), tf.train.Example()
    for name in sorted(example.features.feature):
        rewritten.features.feature[name].CopyFrom(example.features.feature[name])
    rewritten.DiscardUnknownFields()
    return rewritten.SerializeToString(deterministic=True)


def _entries(example: bytes, names: Collection[bytes]) -> list[tuple[bytes, bytes]] | None:
    """Name and wire bytes of each feature of an example.

    Returns:
        None where protobuf itself has to read the example: it is not written in one piece with the names in front, or
        has one of the names twice.
    """
    entries = []
    end = len(example)
    if not end:
        return []
    try:
        length, position = _length(example, 0)
        if position + length != end:
            return None
        while position < end:
            length, key_at = _length(example, position)
            key_length, key_from = _length(example, key_at)
            entries.append((example[key_from : key_from + key_length], example[position : key_at + length]))
            position = key_at + length
    except (IndexError, ValueError):
        return None
    keys = [key for key, _ in entries if key in names]
    return entries if position == end and len(set(keys)) == len(keys) else None


def _length(data: bytes, position: int) -> tuple[int, int]:
    """The length of the field 1 that starts here, and where its content starts."""
    if data[position] != _FIELD_1:
        raise ValueError(f"a tag must be {_FIELD_1}. Received: {data[position]}")
    position += 1
    length = shift = 0
    while (byte := data[position]) & 0x80:
        length |= (byte & 0x7F) << shift
        shift += 7
        position += 1
    return length | byte << shift, position + 1


def _message(content: bytes) -> bytes:
    """The content as field 1; nothing if there is none."""
    if not content:
        return b""
    length, header = len(content), bytearray([_FIELD_1])
    while length > 0x7F:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    return bytes(header) + content
