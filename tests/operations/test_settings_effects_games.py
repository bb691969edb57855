"""Tests that each key of the sections ``games`` and ``rewards`` changes the games that are played, at the start and live."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import Memory, wait_until
from support.settings_effects import collecting, played, settings_of, shows
from support.settings_samples import sample

from generals_env.operations.run import collector as collector_module
from generals_env.operations.run.collector import Collector
from generals_env.operations.run.players import GamePlayer
from generals_env.operations.settings.keys import KEYS
from generals_env.recorders import ExperienceLog

pytestmark = pytest.mark.checklist("F2", "K10")


def games(memory: Memory) -> int:
    return len({name for batch in memory for name in batch.game_ids})


def meta(name: str) -> Callable[[Memory], Any]:
    return lambda memory: str(memory[0].metadata[name])


def last_turn(memory: Memory) -> int:
    return int(memory.column("turn").max())


def first_state(memory: Memory) -> bytes:
    return memory[0].states()[0].tobytes()


def actions(memory: Memory) -> bytes:
    return memory.column("action").tobytes()


#: The keys with values, and what is seen in the experience.
GAMES: dict[str, tuple[Any, Callable[[Memory], Any]]] = {
    "games.parallel": (7, games),
    "games.policies": (("random",), actions),
    "games.policy_version": ("v7", meta("policy_versions")),
    "games.players": (3, lambda memory: memory[0].players),
    "games.height": (7, lambda memory: memory[0].shape),
    "games.width": (7, lambda memory: memory[0].shape),
    "games.max_turns": (9, last_turn),
    "games.rules": ("v18", meta("rules")),
    "games.fog": (False, first_state),
    "games.teams": ((1, 0), lambda memory: str(memory[0].metadata["config"])),
    "games.modifiers": (("torus",), actions),
    "games.mountain_density": (0.0, first_state),
    "games.city_density": (0.2, first_state),
    "games.observation": ("full", lambda memory: memory[0].states().shape[1:]),
}


@shows(
    "games.parallel",
    "games.policies",
    "games.policy_version",
    "games.players",
    "games.height",
    "games.width",
    "games.max_turns",
    "games.rules",
    "games.fog",
    "games.teams",
    "games.modifiers",
    "games.mountain_density",
    "games.city_density",
    "games.observation",
)
@pytest.mark.parametrize("key", GAMES)
def test_key_of_games_changes_what_is_recorded(tmp_path: Path, key: str) -> None:
    value, seen = GAMES[key]
    assert seen(played(settings_of(tmp_path, {key: value}))) != seen(played(settings_of(tmp_path)))


@shows("games.seed")
def test_seed_decides_the_first_boards_of_a_run(tmp_path: Path) -> None:
    boards = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        Collector(settings_of(folder, {"games.seed": seed, "collection.max_games": 1})).run(lambda _: None)
        boards.append(next(iter(ExperienceLog(folder / "log", mode="r").read())).states()[0].tobytes())
    assert boards[0] == boards[1] != boards[2]


@shows("games.threads")
def test_threads_is_the_number_of_threads_that_play(tmp_path: Path) -> None:
    threads = []
    for count in (1, 2):
        player = GamePlayer(settings_of(tmp_path, {"games.threads": count}), None, 1)
        threads.append(player._venv.batch.threads)
        player.close()
    assert threads == [1, 2]


REWARDS = [name for name in KEYS if name.startswith("rewards.")]

#: Games in which each term of the reward occurs: in a team, one player can lose the general while the game goes on.
EVENTFUL = {
    "games.players": 4,
    "games.teams": (0, 0, 1, 1),
    "games.parallel": 32,
    "games.height": 8,
    "games.width": 8,
    "games.city_density": 0.1,
    "games.max_turns": 400,
}


@cache
def rewards_of(folder: Path, key: str | None) -> np.ndarray:
    """Return the rewards of the same games with the weight of one term changed."""
    changed = {} if key is None else {key: KEYS[key].default + 0.5}
    return played(settings_of(folder, EVENTFUL | changed), turns=400).column("reward")


@shows(
    "rewards.win_game",
    "rewards.lose_game",
    "rewards.city_captured",
    "rewards.city_lost",
    "rewards.territory_gained",
    "rewards.territory_lost",
    "rewards.army_gained",
    "rewards.army_lost",
    "rewards.enemy_general_captured",
    "rewards.own_general_lost",
    "rewards.army_advantage",
)
@pytest.mark.parametrize("key", REWARDS)
def test_key_of_rewards_changes_rewards_of_the_same_games(key: str) -> None:
    changed, before = rewards_of(Path("unused"), key), rewards_of(Path("unused"), None)
    assert changed.shape == before.shape
    assert (changed != before).any()


def test_live_keys_of_games_and_rewards_begin_new_games(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running collector gets the change of one key after another, and begins games with each."""
    made: list[Any] = []

    class Noted(GamePlayer):
        def __init__(self, settings: Any, *arguments: Any) -> None:
            super().__init__(settings, *arguments)
            made.append(settings)

    monkeypatch.setattr(collector_module, "GamePlayer", Noted)
    live = [key for key in KEYS if key.startswith(("games.", "rewards.")) and KEYS[key].live]
    with collecting(settings_of(tmp_path, {"collection.turns_per_second": 1000.0})) as collector:
        for number, key in enumerate(live):
            wait_until(lambda: len(made) == number + 1)  # noqa: B023 - called at once
            value = GAMES[key][0] if key in GAMES else sample(key)
            collector.change(settings_of(tmp_path, {"collection.turns_per_second": 1000.0, key: value}))
        wait_until(lambda: len(made) == len(live) + 1)
    assert made[-1].rewards.army_advantage == sample("rewards.army_advantage")
