"""From recorded experience back to the environment that it came from, as a spec of Gymnasium that JSON takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from generals_env import ENV_ID
from generals_env.config import GameConfig, RewardConfig, bounds
from generals_env.env_spec import LEFT_OUT, json_value
from generals_env.errors import ConfigError, MapError
from generals_env.opponents import POLICIES
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe

__all__ = ["Origins"]


class Origins:
    """The environments of batches, put together to one.

    Options in which they differ are left out, so their defaults hold; sizes become a range.
    """

    def __init__(self) -> None:
        self._options: dict[str, Any] | None = None
        self._least: tuple[int, int] = (2**31, 2**31)  # rows and columns of the smallest board

    def add(self, batch: ExperienceBatch) -> None:
        """Take note of a batch that has experience."""
        options = options_of(batch)
        known = self._options
        self._options = options if known is None else {name: known[name] for name in known if known[name] == options.get(name)}
        games = batch.boards.games
        rows, columns = self._least
        self._least = min(rows, int(games["rows"].min())), min(columns, int(games["columns"].min()))

    def spec(self, like: ExperienceBatch) -> EnvSpec | None:
        """Return the spec of an environment with one learning player whose observations are those of ``like``.

        The built-in policy that played the other seats plays them again. None where observations are those of others' wrappers,
        which nothing here tells of, or where no environment has such boards.
        """
        if like.dense is not None or self._options is None:
            return None
        options = dict(self._options)
        try:
            for name, least, most in zip(("height", "width"), self._least, like.shape, strict=True):
                if name not in options or bounds(as_size(options[name]))[1] != most:
                    options[name] = most if least == most else [least, most]
            GameConfig.from_options(**{name: value for name, value in options.items() if name not in OF_A_LEARNER})
        except (ConfigError, MapError, TypeError, ValueError, IndexError):
            return None  # boards of people that are larger, a map that is padded, or metadata that are not ours
        wrappers = tuple(wrappers_of(like.recipe))
        return dataclasses.replace(gymnasium.spec(ENV_ID), kwargs=options, additional_wrappers=wrappers)


#: Options of the environment with one learning player that are no option of a game, and the reward, which is checked elsewhere.
OF_A_LEARNER = ("opponent", "player", "reward")


def options_of(batch: ExperienceBatch) -> dict[str, Any]:
    """Return the options of a batch's environment that are not the default ones, as JSON takes them."""
    defaults = {field.name: getattr(GameConfig(), field.name) for field in dataclasses.fields(GameConfig)}
    told = batch.metadata.get("config")
    if isinstance(told, dict):
        options = {name: value for name, value in told.items() if name in defaults and name not in LEFT_OUT}
        options = {name: value for name, value in options.items() if value != json_value(defaults[name])}
    else:  # games of people
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
    """Return which seat learned and who played the others, as far as the policies of a recording tell it."""
    if not isinstance(policies, (list, tuple)) or len(policies) != players:
        return {}
    learning = [seat for seat, policy in enumerate(policies) if policy is None]
    player = learning[0] if len(learning) == 1 else 0
    others = {str(policy) for seat, policy in enumerate(policies) if seat != player}
    options: dict[str, Any] = {"player": player} if player else {}
    if len(others) == 1 and (opponent := others.pop()) in POLICIES:
        options["opponent"] = opponent
    return options


def wrappers_of(recipe: Recipe) -> list[WrapperSpec]:
    """Return the wrappers, from the lowest to the highest, that observations and rewards of a recipe need."""
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
