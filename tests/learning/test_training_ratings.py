"""Tests ratings while training: real games, who is compared with whom, and verdicts that few games do not give."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.arena_games import made_up_games

from generals_env import ConfigError
from generals_env.arena.game_kind import game_config
from generals_env.arena.statistics.game_table import GameTable
from generals_env.arena.statistics.intervals import compare
from generals_env.arena.statistics.ratings import rate
from generals_env.arena.store import Store
from generals_env.learning.self_play.snapshot import snapshot
from generals_env.learning.self_play.training_ratings import TrainingRatings, saturated, verdict
from generals_env.networks.policy_network import PolicyNetwork


def network(seed: int) -> PolicyNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PolicyNetwork("full", 4, 1)


def ratings_of(**options: Any) -> TrainingRatings:
    config = game_config(height=5, width=5, max_turns=60)
    return TrainingRatings(config, **{"anchors": ("random", "expander"), "games": 8, **options})


def test_selves_play_anchors_and_earlier_selves(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        ratings = ratings_of(store=store, selves=1)
        one, two = ratings.add(network(1), 100), ratings.add(network(2), 200)
    assert [result.opponent for result in one.results] == ["random", "expander"]
    assert [result.opponent for result in two.results] == ["random", "expander", one.player]
    assert (one.games, two.games) == (16, 24)
    own = [game for game in ratings.played if two.player in game.players]
    assert two.draw_rate == sum(game.winner == -1 for game in own) / 24
    assert len(ratings.played) == 8 + 16 + 24, "the anchors play each other once"
    assert two.elo.low < two.elo.value < two.elo.high
    assert ratings.figures()["elo"] == two.elo.value
    assert ratings.figures()["rated_wins_random"] == two.results[0].win_rate.value
    assert f"of 24 games, {two.draw_rate:.1%} drawn or cut off" in two.line()
    with Store(tmp_path) as store:
        again = ratings_of(store=store, selves=1)
        assert again.ratings().to_dict() == ratings.ratings().to_dict(), "the games of earlier runs are kept"
        assert again.add(network(1), 100).results == one.results
        assert len(again.played) == len(ratings.played), "and not played again"


def test_further_opponents_and_a_checkpoint() -> None:
    ratings = ratings_of(games=2, selves=2)
    one = ratings.add(network(1), 100, {"member-0": network(3), "copy": network(1)})
    assert [result.opponent[:8] for result in one.results] == ["random", "expander", "member-0", "copy-" + one.player[-8:-5]]
    other = ratings_of(games=2, selves=2)
    other.restore(ratings.state())
    two = other.add(network(2), 200)
    assert two.results[-1].opponent == one.player, "the latest self, with its weights, comes from the checkpoint"


def test_selves_of_two_trainings_are_never_one_player() -> None:
    assert snapshot(network(1), "self-100").name != snapshot(network(2), "self-100").name
    assert snapshot(network(1), "self-100").name == snapshot(network(1), "self-100").name
    changed = network(1)
    with torch.no_grad():
        changed.moves.bias[0] += 1e-3
    assert snapshot(changed, "self-100").identity != snapshot(network(1), "self-100").identity


def test_ratings_of_unconnected_pools_are_refused() -> None:
    one = made_up_games({"a1": 0.0, "a2": 1.0, "a3": 2.0}, 40)
    other = made_up_games({"b1": 0.0, "b2": 1.5}, 40)
    apart = rate(one, anchor="a1")["a3"].elo.value - rate(other, anchor="b1")["b2"].elo.value
    assert apart != 0, "a number comes out of two ratings with anchors of their own, and means nothing"
    with pytest.raises(ConfigError, match="expected games that connect all compared players, got 2 groups"):
        rate([*one, *other], anchor="a1")
    links = made_up_games({"a1": 0.0, "b1": 0.0}, 40)
    joined = rate([*one, *other, *links], anchor="a1")
    assert verdict(joined, "a3", "b2").difference.low < 0.5 * 174 < verdict(joined, "a3", "b2").difference.high
    for anchors in ((), ("random",), "expander", ("random", "random")):
        with pytest.raises(ConfigError, match="anchors: expected at least two players"):
            ratings_of(anchors=anchors)


def test_few_games_give_no_verdict() -> None:
    def told(games: int) -> Any:
        # 53.6% of the points, which is 25 points of Elo, with 35% of the games drawn.
        wins, draws = math.ceil(games * 0.361), round(games * 0.35)
        counts = {("new", "old"): (wins, draws, games - wins - draws), ("old", "new"): (games - wins - draws, draws, wins)}
        return verdict(rate(GameTable.from_counts(counts), anchor="old"), "new", "old")

    few, many = told(18), told(1150)
    assert few.games == 36
    assert not few.decided
    assert few.difference.high - few.difference.low > 2 * 58
    assert "no verdict on new and old" in few.line()
    assert "of 36 games each" in few.line()
    assert "would tell apart this difference" in few.line()
    assert many.decided
    assert many.difference.value == pytest.approx(25, abs=3)
    assert many.line().startswith("new is stronger than old: ")


def test_an_anchor_that_is_always_beaten_is_named() -> None:
    games = made_up_games({"early": 3.0, "late": 5.0, "random": -3.0, "expander": 2.5}, 150)
    early, late = ([compare(games, name, anchor) for anchor in ("random", "expander")] for name in ("early", "late"))
    gain = late[0].win_rate.value - early[0].win_rate.value
    assert abs(gain) < 0.05, "against random nothing is seen"
    assert saturated(early, ("random", "expander")) == ("random",)
    assert verdict(rate(games), "late", "early").difference.low > 150, "the other games tell"


def test_wrong_options_of_ratings_are_refused() -> None:
    with pytest.raises(ConfigError, match="games: expected an even number"):
        ratings_of(games=7)
    with pytest.raises(ConfigError, match="selves: expected"):
        ratings_of(selves=-1)
    with pytest.raises(ConfigError, match="someone-else"):
        ratings_of(anchors=("random", "someone-else"))
    with pytest.raises(ConfigError, match="games: expected at least one game, got none"):
        ratings_of().ratings()
