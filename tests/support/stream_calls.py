"""Calls a stream server by plain gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from generals_env.recorders import ExperienceBatch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.server.server import ExperienceServer
from support.recorded import record_game
from support.stream_process import ServerProcess

GAMES = [record_game(seed, 60, height=6, width=7) for seed in range(4)]


ALL = ExperienceBatch.concat(GAMES)  # 480 experiences, 120 of each game


@contextmanager
def called(server: ServerProcess | ExperienceServer) -> Iterator[ExperienceServiceStub]:
    with grpc.insecure_channel(server.address, [("grpc.max_receive_message_length", 2**25)]) as channel:
        yield ExperienceServiceStub(channel)


def source(kind: str, folder: Path) -> dict[str, Any]:
    return {"log": {"folder": str(folder / "log")}} if kind == "log" else {"buffer": {"capacity": 100_000}}


def ask(**fields: Any) -> pb.StreamExperiencesRequest:
    return pb.StreamExperiencesRequest(**fields)


def status_of(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    return caught.value.code(), caught.value.details()


def submit(stub: ExperienceServiceStub, **fields: Any) -> pb.SubmitExperiencesResponse:
    return stub.SubmitExperiences(pb.SubmitExperiencesRequest(**fields))
