"""Tests the metrics of recorded experience against plain counts in Python."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from support.helpers import Memory
from support.odd_batches import odd_batch
from support.recorded import games_of, record_game, renamed

import generals_env
from generals_env.errors import ConfigError
from generals_env.operations.metrics.histogram import REWARD_BOUNDS, Histogram, Moments
from generals_env.operations.metrics.metered_sink import MeteredSink, SinkMetrics
from generals_env.operations.metrics.recording_metrics import RecordingMetrics, ended_games
from generals_env.recorders import ExperienceBatch, ExperienceRecorder

GAME = record_game(3, 60, height=6, width=7)


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def values(metrics: Any, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a name by the values of their labels."""
    samples = [sample for family in metrics.collect() for sample in family.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def value(metrics: Any, name: str) -> float:
    """Return the one sample of a name."""
    return values(metrics, name)[()]


def rewarded(batch: ExperienceBatch, rewards: Sequence[float]) -> ExperienceBatch:
    """Return the first experiences of a batch with these rewards."""
    rows = batch.rows[: len(rewards)].copy()
    rows["reward"] = rewards
    return replace(batch, rows=rows)


def kind_of(action: int, tiles: int) -> tuple[str, str]:
    """Return direction and amount of an action."""
    if action >= 8 * tiles:
        return "pass" if action == 8 * tiles else "build", "none"
    return ("up", "down", "left", "right")[action % 4], ("full", "half")[action // (4 * tiles)]


@pytest.mark.checklist("L1", "L8", "L13")
def test_recording_metrics_equal_a_plain_count() -> None:
    rng = np.random.default_rng(5)
    batches = [*games_of("two players"), *games_of("eight players", 3), *games_of("padded torus", 3)]
    batches += [odd_batch(rng) for _ in range(20)]
    metrics = RecordingMetrics()
    players: Counter[tuple[str, str]] = Counter()
    kinds: Counter[tuple[str, str]] = Counter()
    rewards: list[float] = []
    for batch in batches:
        metrics.observe(batch)
        players.update(
            (game, str(player)) for game, player in zip(batch.game_id.tolist(), batch.player_id.tolist(), strict=True)
        )
        kinds.update(kind_of(action, batch.shape[0] * batch.shape[1]) for action in batch.action.tolist())
        rewards += [float(reward) for reward in batch.rewards() if math.isfinite(reward)]
    total = sum(map(len, batches))
    assert values(metrics, "experiences_collected_total") == players
    assert value(metrics, "experiences_recorded_total") == total == players.total() > 3000
    counted = values(metrics, "experience_actions_total")
    assert {kind: times for kind, times in counted.items() if times} == kinds
    assert len(counted) == 10
    assert value(metrics, "experience_illegal_actions_total") == sum(int(batch.illegal.sum()) for batch in batches)
    assert value(metrics, "experience_reward_accumulated") == pytest.approx(math.fsum(rewards), rel=1e-9)
    assert value(metrics, "experience_reward_mean") == pytest.approx(statistics.fmean(rewards), rel=1e-9)
    assert value(metrics, "experience_reward_stddev") == pytest.approx(statistics.pstdev(rewards), rel=1e-9)
    assert (value(metrics, "experience_reward_min"), value(metrics, "experience_reward_max")) == (min(rewards), max(rewards))
    shares = [times / total for times in kinds.values()]
    assert value(metrics, "experience_action_entropy") == pytest.approx(-sum(share * math.log2(share) for share in shares))


@pytest.mark.checklist("L3")
def test_reward_histogram_has_the_buckets_of_the_guide() -> None:
    metrics = RecordingMetrics()
    rewards = [-1.0, -1.5, -0.95, -0.9, 0.0, 0.0, 0.1, 0.3, 0.7, 0.95, 1.0, 1.5]
    metrics.observe(rewarded(GAME, rewards))
    buckets = values(metrics, "experience_rewards_bucket")
    bounds = [bound for (bound,) in buckets]
    assert bounds == [f"{number / 10:.1f}" for number in range(-10, 11)] + ["+Inf"]
    # float32 rewards as 0.1 and 0.7 are not above their decimal bounds.
    assert list(buckets.values()) == [sum(reward <= float(bound) for reward in rewards) for bound in bounds]
    assert value(metrics, "experience_rewards_count") == len(rewards)
    assert value(metrics, "experience_rewards_sum") == pytest.approx(sum(rewards))


def test_rewards_of_shaping_are_those_of_the_environment() -> None:
    made = (odd_batch(np.random.default_rng(seed)) for seed in count())
    batch = next(batch for batch in made if batch.recipe.shaping and len(batch) == 40)
    metrics = RecordingMetrics()
    metrics.observe(batch)
    paid = batch.rewards()
    assert value(metrics, "experience_reward_mean") == pytest.approx(float(paid[np.isfinite(paid)].mean(dtype=np.float64)))


def test_invalid_rewards_and_players_do_not_spoil_the_counts() -> None:
    metrics = RecordingMetrics()
    batch = rewarded(GAME, [0.5, math.nan, math.inf, -0.5])
    batch.rows["player_id"] = [0, -1, 100, 1]
    metrics.observe(batch)
    assert value(metrics, "experiences_recorded_total") == 4
    assert sum(values(metrics, "experiences_collected_total").values()) == 2
    assert value(metrics, "experience_reward_mean") == 0.0
    assert value(metrics, "experience_rewards_count") == 2


@pytest.mark.checklist("L8")
def test_moments_of_parts_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    numbers = [rng.normal(1e6, 1e-2, size) for size in (1, 0, 1000, 3)]
    moments = Moments()
    assert math.isnan(moments.mean)
    for part in numbers:
        moments.add(part)
    whole = np.concatenate(numbers)
    assert moments.mean == pytest.approx(float(whole.mean()), rel=1e-15)
    assert moments.deviation == pytest.approx(float(whole.std()), rel=1e-6)
    histogram = Histogram(REWARD_BOUNDS, np.float32)
    histogram.add_many(np.array([0.5]), zeros=3)
    assert histogram.counts[10] == 3


@pytest.mark.checklist("L1")
def test_counts_of_ended_games_are_dropped_after_their_time() -> None:
    clock = Clock()
    metrics = RecordingMetrics(ended_games_seconds=60, clock=clock)
    over, running = renamed(GAME, "over", 0), renamed(GAME, "running", 0).select(np.arange(20))
    last = over.rows["state_index"][-1]
    over.rows["truncated"][over.rows["state_index"] == last] = True
    metrics.observe(over)
    metrics.observe(running)
    clock.now += 59.9
    assert {game for game, _ in values(metrics, "experiences_collected_total")} == {"over", "running"}
    clock.now += 0.1
    assert {game for game, _ in values(metrics, "experiences_collected_total")} == {"running"}
    assert value(metrics, "experiences_recorded_total") == len(over) + 20
    clock.now += 3600  # it goes on without end, and without experiences
    assert values(metrics, "experiences_collected_total") == {}


@pytest.mark.checklist("L1")
def test_games_with_counts_of_their_own_are_limited() -> None:
    metrics = RecordingMetrics(max_games=3)
    for number in range(10):
        metrics.observe(renamed(GAME, f"endless {number}", 0).select(np.arange(20)))
    games = {game for game, _ in values(metrics, "experiences_collected_total")}
    assert games == {"endless 0", "endless 1", "endless 2"}
    assert value(metrics, "experiences_recorded_total") == 200
    end = renamed(GAME, "endless 1", 0).select(np.arange(20, 22))
    end.rows["truncated"] = True
    metrics.observe(end)
    metrics.observe(renamed(GAME, "new", 0).select(np.arange(20)))  # takes the place of the ended one
    assert {game for game, _ in values(metrics, "experiences_collected_total")} == {"endless 0", "endless 2", "new"}


@pytest.mark.checklist("L1")
def test_metrics_without_games_have_one_series_and_change_live() -> None:
    metrics = RecordingMetrics(per_game=False)
    metrics.observe(GAME)
    assert values(metrics, "experiences_collected_total") == {(): len(GAME)}
    metrics.change(per_game=True, ended_games_seconds=5)
    assert values(metrics, "experiences_collected_total") == {}
    metrics.observe(GAME)
    assert sum(values(metrics, "experiences_collected_total").values()) == len(GAME)
    metrics.change(per_game=False)
    assert values(metrics, "experiences_collected_total") == {(): 2 * len(GAME)}
    for wrong in (0, -1, math.nan, "60", True):
        with pytest.raises(ConfigError, match="ended_games_seconds: expected seconds above 0, got"):
            metrics.change(ended_games_seconds=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="per_game"):
        RecordingMetrics(per_game=1)  # type: ignore[arg-type]


@pytest.mark.checklist("L4")
def test_rate_and_entropy_are_those_of_the_last_seconds() -> None:
    clock = Clock()
    metrics = RecordingMetrics(clock=clock)
    assert value(metrics, "experiences_per_second") == 0
    assert math.isnan(value(metrics, "experience_action_entropy"))
    for _ in range(20):
        clock.now += 1
        metrics.observe(GAME)
    assert value(metrics, "experiences_per_second") == pytest.approx(len(GAME), rel=0.06)
    passing = GAME.select(np.arange(10))
    passing.rows["action"] = 8 * 6 * 7
    for _ in range(60):
        clock.now += 1
        metrics.observe(passing)
    assert value(metrics, "experiences_per_second") == pytest.approx(10, rel=0.06)
    assert value(metrics, "experience_action_entropy") == 0
    clock.now += 60
    value(metrics, "experiences_per_second")
    clock.now += 60
    assert value(metrics, "experiences_per_second") == 0


def test_games_that_end_are_counted_once_at_the_end_of_all_players() -> None:
    batches = Memory()
    metrics = RecordingMetrics()
    env = ExperienceRecorder(
        generals_env.make_vec(4, height=6, width=6, players=4, max_turns=60), MeteredSink(batches, metrics)
    )
    env.reset(seed=1)
    env.play(150, ("expander", "random", "expander", "random"))
    env.close()
    left: dict[str, set[int]] = {}
    ends: dict[str, int] = {}
    for batch in batches:
        ending = (batch.terminated | batch.truncated).tolist()
        for game, player, end in zip(batch.game_id.tolist(), batch.player_id.tolist(), ending, strict=True):
            left.setdefault(game, set()).add(player)
            ends[game] = ends.get(game, 0) + end
    over = {game for game, players in left.items() if ends[game] == len(players) == 4}
    assert value(metrics, "games_ended_total") == len(over) >= 8
    turns = {(game, turn) for batch in batches for game, turn in zip(batch.game_id.tolist(), batch.turn.tolist(), strict=True)}
    assert value(metrics, "game_turns_total") == len(turns)


def test_eliminated_player_does_not_end_a_game() -> None:
    batch = games_of("eight players", 1)[0]
    first = int(np.flatnonzero(batch.terminated)[0])
    until = batch.select(batch.turn <= batch.turn[first])
    assert until.terminated.any()
    assert ended_games(until).tolist() == []
    assert ended_games(until.select(np.zeros(0, np.int64))).tolist() == []


@pytest.mark.checklist("L6")
def test_metered_sink_counts_only_what_its_sink_took() -> None:
    class Full(Memory):
        refuses = True

        def write(self, batch: ExperienceBatch) -> str:  # type: ignore[override]
            if self.refuses:
                raise OSError("full")
            self.append(batch)
            return "taken"

    inner = Full()
    metrics, sinks = RecordingMetrics(), SinkMetrics()
    sink = MeteredSink(inner, metrics, sinks, "log")
    with pytest.raises(OSError, match="full"):
        sink.write(GAME)
    assert value(metrics, "experiences_recorded_total") == 0
    inner.refuses = False
    assert sink.write(GAME) == "taken"
    sink.flush()
    sink.close()
    assert (inner.flushed, inner.closed) == (1, 1)
    assert value(metrics, "experiences_recorded_total") == len(GAME)
    assert values(sinks, "experience_sink_failures_total") == {("log",): 1}
    assert values(sinks, "experience_sink_write_seconds_count") == {("log",): 2}
