"""Batches as TFRecord files, for TensorFlow and whatever reads its records; TensorFlow itself is not needed.

A record is one experience, a ``tf.train.Example`` that stands on its own: records may be shuffled, split and put together.
Its features for others, as ``tf.io.parse_single_example`` takes them:

- ``player_id``, ``turn``, ``sequence``, ``action``, ``illegal``, ``terminated``, ``truncated``, ``collected_at``, ``steps``:
  one int64 each; ``reward``: a float (the engine's, without the shaping of wrappers); ``game_id``: UTF-8 bytes.
- ``state``, ``next_state``: floats as ``batch.states()`` gives them, flat, of the shape in ``state_shape`` (int64).
- ``action_mask``, ``next_action_mask``: bytes, for ``tf.io.decode_raw(..., tf.int8)``.

``decode`` reads none of these but ``game_id``: what brings the experience back without loss are features of bytes, ``header``
and the others that ``pieces`` tells of. The first record of a file has the names of all games in ``games``, too. A batch
without experiences is one record with nothing but ``batch``, the bytes of ``codec``.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

try:
    import google_crc32c
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as error:
    raise ImportError(
        f'tfrecord: expected google_crc32c and protobuf, got {error}: pip install "generals_env[storage]"'
    ) from None

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.encoding.byte_shuffle import MAX_BYTES
from generals_env.recorders.encoding.standalone_records import PIECES, Source, closed, fields_of, header_of
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["EVERY", "SUFFIX", "decode", "decode_file", "encode", "offsets", "records"]

SUFFIX = ".tfrecord"

#: How many records lie between two places from which ``offsets`` lets one read.
EVERY = 256


#: Length of the data of a record, and its checksum.
HEAD = struct.Struct("<QI")

TAIL = struct.Struct("<I")

INTEGERS = ("player_id", "turn", "sequence", "action", "illegal", "terminated", "truncated", "collected_at", "steps")

#: What ``decode`` reads.
READ = ("header", "games", "batch", *PIECES)


def example_class() -> Any:
    """Return the class of ``tf.train.Example``, with the names and numbers of TensorFlow's public ``example.proto``."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="generals_env/example.proto", package="tensorflow", syntax="proto3")

    def message(
        name: str, *fields: tuple[str, int, str | None], parent: Any = file.message_type, repeated: bool = False
    ) -> Any:
        made = parent.add(name=name)
        for number, (field, kind, of) in enumerate(fields, start=1):
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            made.field.add(name=field, number=number, type=kind, label=label, type_name=of)
        return made

    message("BytesList", ("value", kinds.TYPE_BYTES, None), repeated=True)
    # Declared as repeated floats by TensorFlow: packed, they are bytes on the wire, and so an array is written at once.
    message("FloatList", ("value", kinds.TYPE_BYTES, None))
    message("Int64List", ("value", kinds.TYPE_INT64, None), repeated=True)
    lists = [(f"{kind}_list", f".tensorflow.{kind.title()}List") for kind in ("bytes", "float", "int64")]
    feature = message("Feature", *((name, kinds.TYPE_MESSAGE, of) for name, of in lists))
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    entry_of = ".tensorflow.Features.FeatureEntry"
    features = message("Features", ("feature", kinds.TYPE_MESSAGE, entry_of), repeated=True)
    pair = (("key", kinds.TYPE_STRING, None), ("value", kinds.TYPE_MESSAGE, ".tensorflow.Feature"))
    message("FeatureEntry", *pair, parent=features.nested_type).options.map_entry = True
    message("Example", ("features", kinds.TYPE_MESSAGE, ".tensorflow.Features"))
    pool = descriptor_pool.DescriptorPool()  # of our own: TensorFlow may be loaded, too
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


Example = example_class()


def encode(batch: ExperienceBatch) -> bytes:
    """Return the content of a file that holds a batch.

    Raises:
        ConfigError: If the metadata are not what JSON takes, or observations are no numbers.
    """
    file = io.BytesIO()
    for record in records(batch):
        file.write(record)
    return file.getvalue()


def decode(data: bytes) -> ExperienceBatch:
    """Return the batch in a file's content, or in any whole records of one or several files, in their order.

    Raises:
        StorageError: If a record is damaged or torn (with its number and the byte where it begins), or is none of ours.
    """
    return decode_file(io.BytesIO(data))


def offsets(data: bytes) -> list[tuple[int, int]]:
    """Return places from which on a file's content can be decoded on its own: number of the record, and its first byte.

    Raises:
        StorageError: If the lengths of the records are not those of a whole file.
    """
    places = []
    number = offset = 0
    try:
        while offset < len(data):
            if number % EVERY == 0:
                places.append((number, offset))
            following = offset + HEAD.size + length_of(data[offset : offset + HEAD.size]) + TAIL.size
            if following > len(data):
                raise ValueError("the end within it")  # noqa: TRY301 - told with the others
            number, offset = number + 1, following
    except ValueError as error:
        raise StorageError(f"data: expected the whole of record {number} at byte {offset}, got {error}") from error
    return places


# --- Records ----------------------------------------------------------------------------------------------------------


def masked(data: bytes) -> int:
    """Return the masked CRC-32C of TFRecord."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
    """Return data as a record."""
    length = len(data).to_bytes(8, "little")
    return b"".join((length, TAIL.pack(masked(length)), data, TAIL.pack(masked(data))))


def length_of(head: bytes) -> int:
    """Return how many bytes of data follow the head of a record; raise ``ValueError`` if it is damaged."""
    if len(head) < HEAD.size:
        raise ValueError("the end within it")
    length, checksum = HEAD.unpack(head)
    if masked(head[:8]) != checksum:
        raise ValueError("another checksum of its length")
    if length > MAX_BYTES:
        raise ValueError(f"{length} bytes of data")
    return int(length)


def next_data(file: io.BufferedIOBase) -> bytes | None:
    """Return the data of the next record, None at the end; raise ``ValueError`` if it is damaged."""
    head = file.read(HEAD.size)
    if not head:
        return None
    length = length_of(head)
    data, tail = file.read(length), file.read(TAIL.size)
    if len(tail) < TAIL.size:
        raise ValueError("the end within it")
    if TAIL.unpack(tail) != (masked(data),):
        raise ValueError("another checksum of its data")
    return data


# --- Experiences ------------------------------------------------------------------------------------------------------


def records(batch: ExperienceBatch) -> Iterator[bytes]:
    """Yield each experience as a record; errors as in ``encode``."""
    if not len(batch):
        example = Example()
        example.features.feature["batch"].bytes_list.value.append(encode_batch(batch))
        yield framed(example.SerializeToString())
        return
    if batch.dense is not None and batch.dense.observations.dtype.kind not in "biuf":
        raise ConfigError(f"batch: expected observations that are numbers, got {batch.dense.observations.dtype}")
    batch = closed(batch)
    header = header_of(batch)
    games = json.dumps(batch.game_ids).encode()
    for low in range(0, len(batch), EVERY):  # tensors of all of them would be large
        for number, example in enumerate(examples(batch.slice(low, low + EVERY)), start=low):
            example.features.feature["header"].bytes_list.value.append(header)
            if number == 0:
                example.features.feature["games"].bytes_list.value.append(games)
            yield framed(example.SerializeToString(deterministic=True))


def examples(batch: ExperienceBatch) -> Iterator[Any]:
    """Yield each experience of a slice of a ``closed`` batch as an ``Example``, but for the header."""
    integers = {name: getattr(batch, name).astype(np.int64).tolist() for name in INTEGERS}
    tensors = {"state": batch.states(), "next_state": batch.next_states(), "reward": batch.reward}
    floats = {name: array.astype("<f4", copy=False) for name, array in tensors.items()}
    masks = {"action_mask": batch.action_masks(), "next_action_mask": batch.next_action_masks()}
    pieces = fields_of(batch)
    for i in range(len(batch)):
        example = Example()
        feature = example.features.feature
        for name, column in integers.items():
            feature[name].int64_list.value.append(column[i])
        feature["state_shape"].int64_list.value.extend(batch.state_shape)
        for name, array in floats.items():
            feature[name].float_list.value = array[i].tobytes()
        for name, mask in masks.items():
            feature[name].bytes_list.value.append(mask[i].tobytes())
        for name, parts in pieces.items():
            feature[name].bytes_list.value.append(parts[i])
        yield example


def decode_file(file: io.BufferedIOBase) -> ExperienceBatch:
    """Return the batch in what a file still has; errors as in ``decode``, bytes counted as the file yields them."""
    sources: dict[bytes, Source] = {}
    batches: list[ExperienceBatch] = []
    number = offset = kept = 0
    try:
        while (data := next_data(file)) is not None:
            feature = Example.FromString(data).features.feature
            pieces = {name: feature[name].bytes_list.value[0] for name in READ if name in feature}
            if "batch" in pieces:
                batches.append(decode_batch(pieces["batch"]))
                kept += batches[-1].nbytes
            else:
                header = pieces["header"]
                if header not in sources:
                    sources[header] = Source(header)
                kept += sources[header].add(number, pieces)
                if "games" in pieces:
                    sources[header].add_games(pieces["games"])
            if kept > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes of boards")  # noqa: TRY301 - told with the others
            number, offset = number + 1, offset + HEAD.size + len(data) + TAIL.size
    except Exception as error:
        # Damaged bytes can make gzip, protobuf, json and numpy raise nearly anything.
        raise StorageError(
            f"data: expected the whole of record {number} at byte {offset}, got {error} ({type(error).__name__})"
        ) from error
    try:
        batches = [source.batch() for source in sources.values()] + batches
        if len(batches) == 1:
            return batches[0]
        order = np.argsort([place for source in sources.values() for place in source.order])
        return ExperienceBatch.concat(batches).select(order)
    except Exception as error:
        raise StorageError(
            f"data: expected records that fit together, got {number}: {error} ({type(error).__name__})"
        ) from error
