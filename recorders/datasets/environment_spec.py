"""Derives the Gymnasium spec of the environment that recorded experience came from."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from generals_env import ENV_ID
from generals_env.config import GameConfig, RewardConfig, bounds
from generals_env.env_spec import LEFT_OUT, json_value
from generals_env.errors import ConfigError, MapError
from generals_env.opponents import is_builtin
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe

__all__ = ["Origins"]


class Origins:
    """Merges the environments of batches into one.

    Options in which they differ are left out, so that the defaults are used; sizes become a range.
    """

    def __init__(self) -> None:
        self._options: dict[str, Any] | None = None
        self._smallest: tuple[int, int] = (2**31, 2**31)  # minimum rows and columns of all boards

    def add(self, batch: ExperienceBatch) -> None:
        """Merge the environment of a batch, which must have experience."""
        options = options_of(batch)
        known = self._options
        self._options = options if known is None else {name: known[name] for name in known if known[name] == options.get(name)}
        games = batch.boards.games
        rows, columns = self._smallest
        self._smallest = min(rows, int(games["rows"].min())), min(columns, int(games["columns"].min()))

    def spec(self, like: ExperienceBatch) -> EnvSpec | None:
        """Return the spec of an environment with one learning player whose observations are those of ``like``.

        The built-in policy that played the other seats plays them again. Returns None where wrappers that are not of this
        package made the observations, or where no environment has such boards.
        """
        if like.dense is not None or self._options is None:
            return None
        options = dict(self._options)
        try:
            for name, low, high in zip(("height", "width"), self._smallest, like.shape, strict=True):
                if name not in options or bounds(as_size(options[name]))[1] != high:
                    options[name] = high if low == high else [low, high]
            GameConfig.from_options(**{name: value for name, value in options.items() if name not in OF_A_LEARNER})
        except (ConfigError, MapError, TypeError, ValueError, IndexError):
            return None  # boards of human games that are too large, a padded map, or foreign metadata
        wrappers = tuple(wrappers_of(like.recipe))
        return dataclasses.replace(gymnasium.spec(ENV_ID), kwargs=options, additional_wrappers=wrappers)


#: Options of the environment with one learning player that are not options of a game, and the reward, checked elsewhere.
OF_A_LEARNER = ("opponent", "player", "reward")


def options_of(batch: ExperienceBatch) -> dict[str, Any]:
    """Return the options of a batch's environment that differ from the defaults, as JSON takes them."""
    defaults = {field.name: getattr(GameConfig(), field.name) for field in dataclasses.fields(GameConfig)}
    recorded = batch.metadata.get("config")
    if isinstance(recorded, dict):
        options = {name: value for name, value in recorded.items() if name in defaults and name not in LEFT_OUT}
        options = {name: value for name, value in options.items() if value != json_value(defaults[name])}
        if isinstance(options.get("start"), dict) and "boards" in options["start"]:
            del options["start"]  # the number and the digest of start boards, which are not stored
    else:  # human games
        versions = set(batch.boards.games["version"].tolist())
        options = {"rules": f"v{versions.pop()}"} if len(versions) == 1 else {}
        if batch.recipe.layout != defaults["observation"]:
            options["observation"] = batch.recipe.layout
    options["players"] = batch.players
    reward = batch.metadata.get("reward")
    if isinstance(reward, dict) and reward != dataclasses.asdict(RewardConfig()):
        options["reward"] = dict(reward)
    return options | learner_of(batch.metadata.get("policies"), batch.players)


def learner_of(policies: Any, players: int) -> dict[str, Any]:
    """Return the options for the learning seat and its opponent, as far as the recorded policies determine them."""
    if not isinstance(policies, (list, tuple)) or len(policies) != players:
        return {}
    learning = [seat for seat, policy in enumerate(policies) if policy is None]
    player = learning[0] if len(learning) == 1 else 0
    others = {str(policy) for seat, policy in enumerate(policies) if seat != player}
    options: dict[str, Any] = {"player": player} if player else {}
    if len(others) == 1:
        opponent = others.pop()
        with suppress(ConfigError):  # a name of a later version, or of the user
            if is_builtin(opponent):
                options["opponent"] = opponent
    return options


def wrappers_of(recipe: Recipe) -> list[WrapperSpec]:
    """Return the wrappers, from the innermost to the outermost, that compute the observations and rewards of a recipe."""
    chosen: list[tuple[str, dict[str, Any]]] = []
    if recipe.memory:
        chosen.append(("FogMemory", {}))
    if recipe.frames > 1:
        chosen.append(("FrameStack", {"frames": recipe.frames}))
    chosen += [("PotentialShaping", dataclasses.asdict(terms)) for terms in recipe.shaping]
    return [WrapperSpec(name, f"generals_env.wrappers:{name}", options) for name, options in chosen]


def as_size(value: Any) -> int | tuple[int, int]:
    """Return a size, or a range of sizes, as a configuration has it."""
    return (int(value[0]), int(value[1])) if isinstance(value, (list, tuple)) else int(value)
