"""Encodes batches as TFRecord files, for TensorFlow and other readers of TFRecord; TensorFlow itself is not needed.

A record is one experience, a ``tf.train.Example`` of its own: records may be shuffled, split and concatenated. Its features for
``tf.io.parse_single_example``:

- ``player_id``, ``turn``, ``sequence``, ``action``, ``illegal``, ``terminated``, ``truncated``, ``collected_at``, ``steps``:
  one int64 each; ``reward``: a float (the engine's, without the shaping of wrappers); ``game_id``: UTF-8 bytes.
- ``state``, ``next_state``: floats as ``batch.states()`` gives them, flat, of the shape in ``state_shape`` (int64).
- ``action_mask``, ``next_action_mask``: bytes, for ``tf.io.decode_raw(..., tf.int8)``.

Of these ``decode`` reads only ``game_id``. It restores the experience without loss from further features of bytes: ``header``
and the fields of ``encoding.standalone_records``. The first record of a file also has the ids of all games in ``games``. A
batch without experiences is one record with the single feature ``batch``, the bytes of ``encoding.batch_codec``.
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
from generals_env.recorders.encoding.standalone_records import FIELDS, RecordAssembler, closed, fields_of, header_of
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["EVERY", "SUFFIX", "decode", "decode_file", "encode", "offsets", "records"]

SUFFIX = ".tfrecord"

#: Records between two positions of ``offsets``.
EVERY = 256


#: The head of a record: length of its data, and a checksum of the length.
HEAD = struct.Struct("<QI")

TAIL = struct.Struct("<I")

INTEGERS = ("player_id", "turn", "sequence", "action", "illegal", "terminated", "truncated", "collected_at", "steps")

#: The features that ``decode`` reads.
READ = ("header", "games", "batch", *FIELDS)


def example_class() -> Any:
    """Return a class of ``tf.train.Example``, with the names and numbers of TensorFlow's public ``example.proto``."""
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
    # TensorFlow declares repeated floats: packed, they are encoded like bytes, so that an array is written at once.
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
    pool = descriptor_pool.DescriptorPool()  # a pool of its own: TensorFlow may have registered the same names
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


Example = example_class()


def encode(batch: ExperienceBatch, level: int | None = None) -> bytes:  # noqa: ARG001 - the interface of a format
    """Return the content of a file with a batch, which is not compressed at any ``level``.

    Raises:
        ConfigError: If the metadata cannot be written as JSON, or dense observations are not numbers.
    """
    file = io.BytesIO()
    for record in records(batch):
        file.write(record)
    return file.getvalue()


def decode(data: bytes) -> ExperienceBatch:
    """Return the batch of a file's content, or of any whole records of one or several files, in their order.

    Raises:
        StorageError: If a record is damaged, cut off or of another kind; the text has its number and first byte.
    """
    return decode_file(io.BytesIO(data))


def offsets(data: bytes) -> list[tuple[int, int]]:
    """Return positions from which the content of a file can be decoded: the number of a record, and its first byte.

    Raises:
        StorageError: If the lengths of the records do not add up to the file.
    """
    positions = []
    number = offset = 0
    try:
        while offset < len(data):
            if number % EVERY == 0:
                positions.append((number, offset))
            following = offset + HEAD.size + length_of(data[offset : offset + HEAD.size]) + TAIL.size
            if following > len(data):
                raise ValueError("the end within it")  # noqa: TRY301 - the handler adds the record
            number, offset = number + 1, following
    except ValueError as error:
        raise StorageError(f"data: expected the whole of record {number} at byte {offset}, got {error}") from error
    return positions


# --- Records ----------------------------------------------------------------------------------------------------------


def masked(data: bytes) -> int:
    """Return the masked CRC-32C of TFRecord."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
    """Return a record with the data."""
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
        raise ConfigError(
            f"batch: expected observations that are numbers, got {batch.dense.observations.dtype}: use another format"
        )
    batch = closed(batch)
    header = header_of(batch)
    games = json.dumps(batch.game_ids).encode()
    for low in range(0, len(batch), EVERY):  # tensors of a whole batch would be large
        for number, example in enumerate(examples(batch.slice(low, low + EVERY)), start=low):
            example.features.feature["header"].bytes_list.value.append(header)
            if number == 0:
                example.features.feature["games"].bytes_list.value.append(games)
            yield framed(example.SerializeToString(deterministic=True))


def examples(batch: ExperienceBatch) -> Iterator[Any]:
    """Yield each experience of a slice of a ``closed`` batch as an ``Example``, without the header."""
    integers = {name: getattr(batch, name).astype(np.int64).tolist() for name in INTEGERS}
    tensors = {"state": batch.states(), "next_state": batch.next_states(), "reward": batch.reward}
    floats = {name: array.astype("<f4", copy=False) for name, array in tensors.items()}
    masks = {"action_mask": batch.action_masks(), "next_action_mask": batch.next_action_masks()}
    fields = fields_of(batch)
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
        for name, values in fields.items():
            feature[name].bytes_list.value.append(values[i])
        yield example


def decode_file(file: io.BufferedIOBase) -> ExperienceBatch:
    """Return the batch in the rest of a file; errors as in ``decode``, with bytes counted from the present position."""
    assemblers: dict[bytes, RecordAssembler] = {}
    batches: list[ExperienceBatch] = []
    number = offset = kept = 0
    try:
        while (data := next_data(file)) is not None:
            feature = Example.FromString(data).features.feature
            values = {name: feature[name].bytes_list.value[0] for name in READ if name in feature}
            if "batch" in values:
                batches.append(decode_batch(values["batch"]))
                kept += batches[-1].nbytes
            else:
                header = values["header"]
                if header not in assemblers:
                    assemblers[header] = RecordAssembler(header)
                kept += assemblers[header].add(number, values)
                if "games" in values:
                    assemblers[header].add_games(values["games"])
            if kept > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes of boards")  # noqa: TRY301 - the handler adds the record
            number, offset = number + 1, offset + HEAD.size + len(data) + TAIL.size
    except Exception as error:
        # Damaged bytes can make gzip, protobuf, json and numpy raise many kinds of exceptions.
        raise StorageError(
            f"data: expected the whole of record {number} at byte {offset}, got {error} ({type(error).__name__})"
        ) from error
    try:
        batches = [assembler.batch() for assembler in assemblers.values()] + batches
        if len(batches) == 1:
            return batches[0]
        order = np.argsort([number for assembler in assemblers.values() for number in assembler.order])
        return ExperienceBatch.concat(batches).select(order)
    except Exception as error:
        raise StorageError(
            f"data: expected records that fit together, got {number}: {error} ({type(error).__name__})"
        ) from error
