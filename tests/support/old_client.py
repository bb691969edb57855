"""A client of the original service: its messages and calls, of a table of fields and nothing of the package."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

__all__ = ["CALLS", "OLD", "PACKAGE", "old_messages", "old_stub"]

#: The messages of the original service, without a field from 100 up.
OLD = {
    "TensorState": ("shape 1 repeated int32", "data 2 repeated float"),
    "Experience": (
        "experience_id 1 string",
        "game_id 2 string",
        "player_id 3 int32",
        "turn 4 int32",
        "state 5 TensorState",
        "action 6 int32",
        "reward 7 float",
        "next_state 8 TensorState",
        "done 9 bool",
        "action_mask 10 repeated bool",
        "collected_at 11 Timestamp",
        "metadata 12 map:string,string",
    ),
    "ExperienceBatch": (
        "experiences 1 repeated Experience",
        "batch_id 2 int32",
        "stream_id 3 string",
        "created_at 4 Timestamp",
        "metadata 5 map:string,string",
    ),
    "StreamExperiencesRequest": (
        "game_ids 1 repeated string",
        "player_ids 2 repeated int32",
        "min_turn 3 int64",
        "follow 4 bool",
        "batch_size 5 int32",
        "enable_compression 6 bool",
        "max_batch_wait_ms 7 int32",
    ),
    "SubmitExperiencesRequest": ("experiences 1 repeated Experience",),
    "SubmitExperiencesResponse": ("accepted 1 int32", "rejected 2 int32", "errors 3 repeated string"),
    "GetExperienceStatsRequest": ("game_ids 1 repeated string",),
    "GetExperienceStatsResponse": (
        "total_experiences 1 int64",
        "total_games 2 int64",
        "experiences_per_game 3 map:string,int64",
        "experiences_per_player 4 map:int32,int64",
        "average_reward 5 float",
        "min_reward 6 float",
        "max_reward 7 float",
        "oldest_experience 8 Timestamp",
        "newest_experience 9 Timestamp",
    ),
}

#: Its calls: what goes in, what comes out, and whether that is a stream.
CALLS = {
    "StreamExperiences": ("StreamExperiencesRequest", "Experience", True),
    "StreamExperienceBatches": ("StreamExperiencesRequest", "ExperienceBatch", True),
    "SubmitExperiences": ("SubmitExperiencesRequest", "SubmitExperiencesResponse", False),
    "GetExperienceStats": ("GetExperienceStatsRequest", "GetExperienceStatsResponse", False),
}

PACKAGE = "generals.experience.v1"


def old_messages(pool: descriptor_pool.DescriptorPool | None = None) -> dict[str, Any]:
    """Return classes of the original's messages, made of nothing but the table above.

    Args:
        pool: Where they are known under their names; a new one without.
    """
    file = descriptor_pb2.FileDescriptorProto(name="old.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    field = descriptor_pb2.FieldDescriptorProto
    for name, fields in OLD.items():
        message = file.message_type.add(name=name)
        for text in fields:
            label, number, *repeated, kind = text.split()
            added = message.field.add(name=label, number=int(number), label=field.LABEL_OPTIONAL)
            kind, _, pair = kind.partition(":")
            if repeated or pair:
                added.label = field.LABEL_REPEATED
            if pair:
                entry = message.nested_type.add(name=label.title().replace("_", "") + "Entry")
                entry.options.map_entry = True
                for place, (part, scalar) in enumerate(zip(("key", "value"), pair.split(","), strict=True), 1):
                    known = getattr(field, f"TYPE_{scalar.upper()}")
                    entry.field.add(name=part, number=place, label=field.LABEL_OPTIONAL, type=known)
                added.type_name = f".{PACKAGE}.{name}.{entry.name}"
            elif kind == "Timestamp":
                added.type_name = ".google.protobuf.Timestamp"
            elif kind in OLD:
                added.type_name = f".{PACKAGE}.{kind}"
            else:
                added.type = getattr(field, f"TYPE_{kind.upper()}")
            if added.type_name:
                added.type = field.TYPE_MESSAGE
    if pool is None:
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    names = {name: pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in OLD}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in names.items()}


def old_stub(channel: grpc.Channel, messages: dict[str, Any]) -> SimpleNamespace:
    """Return the calls of a server, with messages as ``old_messages`` gives them."""
    calls = {}
    for name, (request, answer, streams) in CALLS.items():
        call = channel.unary_stream if streams else channel.unary_unary
        calls[name] = call(
            f"/{PACKAGE}.ExperienceService/{name}",
            request_serializer=messages[request].SerializeToString,
            response_deserializer=messages[answer].FromString,
        )
    return SimpleNamespace(**calls)
