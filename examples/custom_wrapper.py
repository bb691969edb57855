"""Writes a wrapper of one's own, plays many games at once with it, records what it shows, and trains from that for seconds.

Run it with ``python examples/custom_wrapper.py``; ``--help`` shows the arguments. It needs
``pip install "generals_env[torch]"``. The wrapper adds a channel to the observations, and a term to the rewards. The recorder
lies over it, so that it records what a learner sees: observations with the channel, rewards with the term.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

import generals_env
from generals_env.recorders import DistributedTrainer, ExperienceRecorder, QNetwork, open_dataset


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    board: int = 6
    max_turns: int = 100
    num_envs: int = 32
    turns: int = 200
    steps: int = 100
    bonus: float = 0.1  # reward of a turn for each neighbour of the own general that the player owns
    seed: int = 0
    out: Path = Path("runs/custom_wrapper")


class GuardedGeneral(VectorWrapper):
    """Adds a channel with the distance of each tile from the player's general, and rewards tiles beside it that are owned.

    Observations have shape (num_envs, players, C, H, W), rewards (num_envs, players).
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], bonus: float) -> None:
        super().__init__(env)
        self.bonus = bonus
        names = env.unwrapped.config.channels  # type: ignore[attr-defined]  # of GeneralsVector
        self.own, self.general = names.index("own_tile"), names.index("own_general")
        below = env.single_observation_space["observation"]
        players, channels, height, width = below.shape
        seen = spaces.Box(0, np.inf, (players, channels + 1, height, width), np.float32)
        self.single_observation_space = spaces.Dict({**env.single_observation_space.spaces, "observation": seen})
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.rows, self.columns = np.mgrid[:height, :width]

    def distances(self, seen: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the steps from the own general to each tile, (..., H, W) float32, 0 for players without one."""
        general = seen[..., self.general, :, :] > 0
        places = general.reshape(*general.shape[:-2], -1).argmax(-1)
        row, column = np.divmod(places, general.shape[-1])
        steps = np.abs(self.rows - row[..., None, None]) + np.abs(self.columns - column[..., None, None])
        return (steps * general.any((-2, -1))[..., None, None]).astype(np.float32)

    def shown(self, observations: dict[str, Any]) -> dict[str, Any]:
        """Return observations with the channel."""
        seen = observations["observation"]
        return {**observations, "observation": np.concatenate([seen, self.distances(seen)[..., None, :, :]], axis=-3)}

    def reset(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin new games."""
        observations, infos = self.env.reset(**options)
        return self.shown(observations), infos

    def step(self, actions: Any) -> tuple[Any, ...]:
        """Play one turn."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        seen = self.shown(observations)
        if "final_obs" in infos:  # the last observations of games that have ended, one dict a game
            final = infos["final_obs"].copy()
            for game in np.flatnonzero(infos["_final_obs"]):
                final[game] = self.shown(final[game])
            infos = {**infos, "final_obs": final}
        beside = (seen["observation"][..., -1, :, :] == 1) & (seen["observation"][..., self.own, :, :] > 0)
        guarded = np.where(terminated, 0, beside.sum((-2, -1)))  # a game that has ended shows its next one
        return seen, (rewards + self.bonus * guarded).astype(np.float32), terminated, truncated, infos


def play(arguments: Arguments) -> float:
    """Play games between the built-in policies, recorded as the wrapper shows them; return the mean reward of a turn."""
    options = {"height": arguments.board, "width": arguments.board, "max_turns": arguments.max_turns}
    games = generals_env.make_vec(arguments.num_envs, observation="full", **options)
    total = 0.0
    with ExperienceRecorder(GuardedGeneral(games, arguments.bonus), arguments.out) as env:
        env.reset(seed=arguments.seed)
        for _ in range(arguments.turns):
            rewards = env.step(games.act(("expander", "random")))[1]
            total += float(rewards.mean())
    return total / arguments.turns


def train(arguments: Arguments) -> dict[str, float]:
    """Train a Q-network on the recorded games for some steps; return the metrics."""
    recorded = list(open_dataset(arguments.out))
    states = recorded[0].states()
    print(f"{sum(map(len, recorded)):,} experiences; states {states.shape[1:]}, wrappers {recorded[0].metadata['wrappers']}")
    config = {"min_size": 1000, "batch_size": 64, "seed": arguments.seed}
    with DistributedTrainer(recorded, QNetwork(states.shape[1:]), config=config) as trainer:
        return trainer.train(arguments.steps)


def main(arguments: Arguments) -> None:
    """Play, then train."""
    print(f"mean reward of a turn {play(arguments):+.3f}")
    found = train(arguments)
    print(f"step {found['step']}: loss {found['loss']:.3f}, mean value {found['value']:+.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    main(Arguments(**vars(parser.parse_args())))
