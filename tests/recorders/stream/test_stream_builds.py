"""Tests games with builds on a stream: packed, as records for clients of the original, and submitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.recorded import facts, games_of, renamed
from support.refusals import refused
from support.stream_calls import called
from support.stream_records import records_of

from generals_env.errors import ConfigError
from generals_env.recorders import ExperienceBatch, ExperienceConsumer, ExperienceLog, ExperienceServer, ReplayBuffer
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_decoder import decode_records

PASS = 8 * 5 * 6  # of the boards of games with builds


@pytest.mark.parametrize("kind", ["buffer", "log"])
def test_consumer_gets_builds_as_they_were_recorded(kind: str, tmp_path: Path) -> None:
    whole = ExperienceBatch.concat(games_of("builds", 3))
    sink: Any = ReplayBuffer(1000, store="games") if kind == "buffer" else ExperienceLog(tmp_path)
    sink.write(whole)
    sink.flush()
    with ExperienceServer(sink, "127.0.0.1:0") as server:
        with ExperienceConsumer(server.address) as consumer:
            parts = list(consumer.stream_experiences(batch_size=100, follow=False))
        with called(server) as stub:
            records = list(stub.StreamExperiences(pb.StreamExperiencesRequest()))
    sink.close()
    received = ExperienceBatch.concat(parts)
    assert received.recipe.builds
    assert [fact[:2] + fact[3:] for fact in facts(received)] == [fact[:2] + fact[3:] for fact in facts(whole)]  # no sequence
    assert (whole.action > PASS).sum() > 3
    for record, action in zip(records, whole.action.tolist(), strict=True):
        assert 0 <= record.action < 4 * 5 * 6
        assert len(record.action_mask) == 4 * 5 * 6
        assert record.metadata["rules"] == "competition"
        assert record.metadata.get("build") == ("{},{}".format(*divmod(action - PASS - 1, 6)) if action > PASS else None)


@pytest.mark.parametrize("full_actions", [False, True])
def test_submitted_records_of_builds_are_stored_and_sent_again(full_actions: bool) -> None:
    records = records_of(ExperienceBatch.concat(games_of("builds", 2)), full_actions)
    other = records_of(renamed(games_of("smaller", 1)[0].padded(5, 6), "other", 0))
    with ExperienceServer(ReplayBuffer(1000), "127.0.0.1:0") as server, called(server) as stub:
        answer = stub.SubmitExperiences(pb.SubmitExperiencesRequest(experiences=records))
        refusal = stub.SubmitExperiences(pb.SubmitExperiencesRequest(experiences=other[:2]))
        back = list(stub.StreamExperiences(pb.StreamExperiencesRequest(full_actions=full_actions)))
    assert (answer.accepted, list(answer.errors)) == (len(records), [])
    assert (refusal.accepted, len(refusal.errors)) == (0, 2)
    assert "metadata: expected rules=competition" in refusal.errors[0]
    for one, sent in zip(back, records, strict=True):
        assert (one.action, one.state, one.action_mask) == (sent.action, sent.state, sent.action_mask)
        assert dict(one.metadata) == dict(sent.metadata)


def test_log_sends_games_with_and_without_builds_in_batches_of_their_own(tmp_path: Path) -> None:
    games = [
        games_of("builds", 1)[0],
        renamed(games_of("smaller", 1)[0], "other", 0),
        renamed(games_of("builds", 1)[0], "z", 0),
    ]
    with ExperienceLog(tmp_path) as log:
        for game in games:
            log.write(game)
        log.flush()
        with ExperienceServer(log, "127.0.0.1:0") as server, ExperienceConsumer(server.address) as consumer:
            parts = list(consumer.stream_experiences(batch_size=1000, follow=False))
    assert [(part.recipe.builds, len(part)) for part in parts] == [(True, 180), (False, len(games[1])), (True, 180)]


def marked(**metadata: str) -> Callable[[pb.Experience], None]:
    return lambda record: record.metadata.update(metadata)


def without_rules(record: pb.Experience) -> None:
    del record.metadata["rules"]


WRONG: list[tuple[str, Callable[[pb.Experience], None]]] = [
    ("action: expected 0 with build, rules=competition", marked(half="1")),
    ("action: expected 0 with build, rules=competition", marked(**{"pass": "1"})),
    ("action: expected 0 with build, rules=competition", without_rules),
    ("metadata: expected 'rules' to be 'competition' or left out, got 'v18'", marked(rules="v18")),
    ("metadata: expected 'build' to be row,column on a board of 5x6, got '5,0'", marked(build="5,0")),
    ("metadata: expected 'build' to be row,column on a board of 5x6, got '0,6'", marked(build="0,6")),
    ("metadata: expected 'build' to be row,column on a board of 5x6, got '7'", marked(build="7")),
    ("metadata: expected 'build' to be row,column on a board of 5x6, got '-1,0'", marked(build="-1,0")),
    ("metadata: expected 'build' to be row,column on a board of 5x6, got ''", marked(build="")),
    ("action: expected one of the mask", marked(build="1,2")),  # a mountain
]


@pytest.mark.parametrize(("error", "change"), WRONG)
def test_wrong_build_in_record_is_refused(error: str, change: Callable[[pb.Experience], None]) -> None:
    record = next(record for record in records_of(games_of("builds", 1)[0]) if "build" in record.metadata)
    change(record)
    batch, kept, reasons = decode_records([record], None)
    assert (batch, kept) == (None, [])
    assert error in reasons[0]


def test_records_of_other_rules_in_one_call_are_refused() -> None:
    records = [*records_of(games_of("builds", 1)[0])[:2], *records_of(games_of("smaller", 1)[0].padded(5, 6))[:1]]
    batch, kept, reasons = decode_records(records, None)
    assert kept == [0, 1]
    assert batch is not None
    assert batch.recipe.builds
    assert list(reasons) == [2]
    assert "metadata: expected rules=competition, as the source or others of this call have" in reasons[2]


def test_buffer_of_other_rules_refuses_builds() -> None:
    buffer = ReplayBuffer(1000)
    buffer.write(games_of("two players", 1)[0])
    with refused(ConfigError, "batch: expected games without builds, got games with them: the rules of the competition"):
        buffer.write(games_of("builds", 1)[0])
