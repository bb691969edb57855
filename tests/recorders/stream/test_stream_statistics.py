"""Tests ``GetExperienceStats``: results equal a plain count, and the cost depends on changes, not on stored experiences."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import same
from support.recorded import cut, games_of, record_game, renamed

from generals_env.recorders import ExperienceBatch, ExperienceLog, ReplayBuffer
from generals_env.recorders.experience.recipe import Recipe, Shaping
from generals_env.recorders.experience.statistics_columns import statistics_columns
from generals_env.recorders.stream.server.buffer_source import BufferSource
from generals_env.recorders.stream.server.experience_statistics import Statistics
from generals_env.recorders.stream.server.log_source import LogSource

GAME = record_game(3, 60, height=6, width=7)  # 120 experiences

SHAPED = replace(GAME, recipe=Recipe(shaping=(Shaping(0.9, land=1.5),)))


def check(statistics: Statistics, held: ExperienceBatch, some: frozenset[str] = frozenset()) -> None:
    """Compare an answer with a plain count of the held experiences."""
    games = Counter(held.game_id.tolist())
    mine = held.select(np.isin(held.game_id, list(some))) if some else held
    told = statistics.answer(some)
    assert dict(told.experiences_per_game) == {game: count for game, count in games.items() if game in some or not some}
    assert dict(told.experiences_per_player) == Counter(mine.player_id.tolist())
    assert (told.total_experiences, told.total_games) == (len(mine), len(set(mine.game_id.tolist())))
    assert told.next_sequence - told.first_sequence == len(held)
    rewards = mine.rewards()
    assert told.average_reward == pytest.approx(float(rewards.mean(dtype=np.float64)), abs=1e-6)
    assert told.reward_deviation == pytest.approx(float(rewards.std(dtype=np.float64)), abs=1e-6)
    assert (told.min_reward, told.max_reward) == (rewards.min(), rewards.max())
    assert told.oldest_experience.ToNanoseconds() == mine.collected_at.min()
    assert told.newest_experience.ToNanoseconds() == mine.collected_at.max()
    assert statistics.games() == set(games)


class Counting(ReplayBuffer):
    """A buffer that counts the experiences that it returns."""

    handed_out = 0

    def read(self, *arguments: Any, **options: Any) -> Any:
        batch = super().read(*arguments, **options)
        self.handed_out += 0 if batch is None else len(batch)
        return batch

    def columns(self, *arguments: Any, **options: Any) -> Any:
        found = super().columns(*arguments, **options)
        self.handed_out += 0 if found is None else sum(map(len, found[1]))
        return found


def test_statistics_of_full_buffer_read_each_experience_at_most_twice() -> None:
    buffer = Counting(3000)
    statistics = Statistics(BufferSource(buffer, 0))
    for number in range(25):
        buffer.write(renamed(GAME, f"{number}", 0))
    statistics.answer(frozenset())
    parts = [renamed(part, f"{number}", 0) for number in range(5) for part in cut(GAME, 10)]
    for part in parts:
        buffer.write(part)
        statistics.answer(frozenset())
    assert buffer.stats().dropped == 600
    assert buffer.handed_out <= 2 * buffer.stats().added
    check(statistics, buffer.snapshot())


@pytest.mark.checklist("L8")
@pytest.mark.parametrize("store", ["boards", "zstd", "games"])
@pytest.mark.parametrize("block", [7, 100, 2**14])
@pytest.mark.parametrize("kind", ["plain", "shaped", "eight players"])
def test_statistics_equal_plain_count(store: str, block: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generals_env.recorders.stream.server.experience_statistics.BLOCK", block)
    game = {"plain": GAME, "shaped": SHAPED, "eight players": games_of("eight players", 1)[0]}[kind]
    rng = np.random.default_rng(1)
    buffer = ReplayBuffer(500, store=store)
    statistics = Statistics(BufferSource(buffer, 0))
    for turn in range(60):
        buffer.write(renamed(game, f"{turn}", 0).slice(0, int(rng.integers(1, min(len(game), 400)))).compact())
        if turn % 20 == 19:
            buffer.clear()
            assert statistics.answer(frozenset()).total_experiences == 0
        elif rng.random() < 0.7:
            held = buffer.snapshot()
            check(statistics, held, frozenset(list(held.game_ids)[::2]) if turn % 3 == 0 else frozenset())


def test_statistics_follow_eviction_for_consumers() -> None:
    buffer = ReplayBuffer(100, overflow="block")
    statistics = Statistics(BufferSource(buffer, 0))
    for number in range(20):
        buffer.write(renamed(GAME, f"{number}", 0).slice(0, 60))
        buffer.took("a reader", buffer.span[1] - 10)
        check(statistics, buffer.snapshot())
    assert buffer.stats().removed > 1000


def test_statistics_of_log_follow_its_retention(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path, segment_bytes=1, max_bytes=60_000) as log:
        statistics = Statistics(LogSource(log))
        for number in range(30):
            log.write(renamed(GAME, f"{number}", 0))
            check(statistics, ExperienceBatch.concat(list(log.read(log.first - 1))))
        assert log.first > 0


def test_statistics_forget_removed_games() -> None:
    buffer = ReplayBuffer(300)
    statistics = Statistics(BufferSource(buffer, 0))
    one = GAME.slice(0, 1).compact()
    for number in range(3000):
        buffer.write(replace(one, game_ids=(f"game {number}",)))
        if number % 50 == 0:
            statistics.answer(frozenset())
    check(statistics, buffer.snapshot())
    assert len(statistics._game_totals.counts) <= 1024  # 350 games were there at once
    assert not statistics.answer(frozenset({"game 0"})).total_experiences


@pytest.mark.parametrize("store", ["boards", "zstd", "games"])
@pytest.mark.parametrize("kind", ["two players", "eight players", "teams", "one seat"])
def test_columns_of_buffer_equal_those_of_its_experiences(store: str, kind: str) -> None:
    buffer = ReplayBuffer(400, store=store)
    assert buffer.columns(0, 10) is None
    for game in games_of(kind, 3):
        for part in cut(game, 90):
            buffer.write(part)
    first, following = buffer.span
    for low, count in ((0, 10_000), (first + 5, 100), (following - 1, 5)):
        found = buffer.columns(low, count)
        batch = buffer.read(low, count)
        assert found is not None
        assert batch is not None
        wanted = statistics_columns(batch)
        assert found[0] == batch.sequence[0]
        assert [name for part in found[1] for name in np.array(part.game_ids)[part.game].tolist()] == batch.game_id.tolist()
        for name in ("player_id", "rewards", "collected_at"):
            assert same(np.concatenate([getattr(part, name) for part in found[1]]), getattr(wanted, name))
    assert buffer.columns(following, 5) is None
