"""Trains PPO of RLlib (new API stack) with action masks, against itself or against a built-in opponent.

Run it with ``python examples/train_rllib.py``, or for example with ``--opponent expander --iterations 60``; ``--help`` lists
the arguments. It needs ``pip install "generals_env[rllib]"``, best in a virtual environment of its own. Each iteration prints
the mean return of a game (in self-play of both players), how many games ended, the shares that ``player_0`` won and that were
cut off, and how many actions were illegal.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import nn

from generals_env import RewardConfig
from generals_env.recorders import ExperienceRecorder
from generals_env.wrappers.rllib import ENV_NAME, SINGLE_NAME, register

#: Gaining land is an early signal of victory; a victory pays more than a step without one can.
REWARD = RewardConfig(territory_gained=0.05, territory_lost=-0.03, win_game=3.0, lose_game=-1.0)


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    opponent: str = "self"  # "self", or a built-in policy: "random", "expander", "hunter", ...
    iterations: int = 5
    board: int = 6
    max_turns: int = 100
    env_runners: int = 0  # processes that play; 0 plays in this process
    games: int = 16  # of each process that plays
    turns: int = 2048  # of all games, for an iteration
    epochs: int = 4
    minibatch: int = 256
    learning_rate: float = 1e-3
    channels: int = 32
    seed: int = 0
    record: Path | None = None  # folder for the experience of all games
    checkpoint: Path | None = None  # folder for the trained algorithm


class MaskedConvolutions(TorchRLModule, ValueFunctionAPI):
    """Convolutions on the board; logits of moves are computed tile by tile, those of illegal actions are the lowest number."""

    def setup(self) -> None:
        """Create the layers; RLlib calls it once."""
        planes, channels = self.observation_space["observations"].shape[0], self.model_config["channels"]
        convolutions = [nn.Conv2d(planes, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)]
        self.body = nn.Sequential(*convolutions, nn.ReLU())
        self.moves = nn.Conv2d(channels, 8, 1)
        self.passing = nn.Linear(channels, 1)
        self.value = nn.Sequential(nn.Linear(2 * channels, 64), nn.ReLU(), nn.Linear(64, 1))

    def _features(self, batch: dict[str, Any]) -> torch.Tensor:
        return self.body(batch[Columns.OBS]["observations"])

    def _logits(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        moves = self.moves(features).unflatten(1, (2, 4)).permute(0, 1, 3, 4, 2)  # half, row, column, direction
        logits = torch.cat([moves.flatten(1), self.passing(features.mean((2, 3)))], dim=1)
        return logits.masked_fill(mask == 0, torch.finfo(logits.dtype).min)

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, torch.Tensor]:
        return {Columns.ACTION_DIST_INPUTS: self._logits(self._features(batch), batch[Columns.OBS]["action_mask"])}

    def _forward_train(self, batch: dict[str, Any], **_: Any) -> dict[str, torch.Tensor]:
        features = self._features(batch)
        logits = self._logits(features, batch[Columns.OBS]["action_mask"])
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.EMBEDDINGS: features}

    def compute_values(self, batch: dict[str, Any], embeddings: torch.Tensor | None = None) -> torch.Tensor:
        """Return the value of each observation, (B,)."""
        features = self._features(batch) if embeddings is None else embeddings
        return self.value(torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)).squeeze(-1)


class GameEnds(RLlibCallback):
    """Logs how games end, and how many actions were illegal."""

    def on_episode_end(self, *, episode: Any, metrics_logger: Any, **_: Any) -> None:
        """Log the end of one game: of an episode of one agent, or of several."""
        reward, infos = episode.get_rewards(-1), [episode.get_infos(-1)]
        if isinstance(reward, dict):
            reward, infos = reward.get("player_0", 0), list(infos[0].values())
        metrics_logger.log_value("games", 1, reduce="sum")
        metrics_logger.log_value("won", int(reward == REWARD.win_game), reduce="sum")
        metrics_logger.log_value("cut_off", int(episode.is_truncated), reduce="sum")
        metrics_logger.log_value("illegal", sum(int(info["illegal_actions"]) for info in infos), reduce="sum")


def configure(arguments: Arguments) -> PPOConfig:
    """Return the configuration of the algorithm."""
    register()
    options: dict[str, Any] = {"height": arguments.board, "width": arguments.board, "max_turns": arguments.max_turns}
    options["reward"] = REWARD
    if arguments.record:
        options["wrap"] = partial(ExperienceRecorder, sink=str(arguments.record.resolve()))
    config = PPOConfig().env_runners(num_env_runners=arguments.env_runners, num_envs_per_env_runner=arguments.games)
    if arguments.opponent == "self":  # one policy for both seats
        # RLlib's check would play, and record, one turn of random actions in each game.
        config.environment(ENV_NAME, env_config=options, disable_env_checking=arguments.record is not None)
        config.multi_agent(policies={"shared"}, policy_mapping_fn=lambda *_, **__: "shared")
    else:  # all games of a process are one batch: RLlib can do so for one learner, not for several agents
        config.environment(SINGLE_NAME, env_config={**options, "opponent": arguments.opponent})
        config.env_runners(gym_env_vectorize_mode="vector_entry_point")
    config.rl_module(
        rl_module_spec=RLModuleSpec(module_class=MaskedConvolutions, model_config={"channels": arguments.channels})
    )
    config.training(
        train_batch_size_per_learner=arguments.turns,
        minibatch_size=arguments.minibatch,
        num_epochs=arguments.epochs,
        lr=arguments.learning_rate,
        gamma=0.99,
        lambda_=0.95,
        entropy_coeff=0.01,
        grad_clip=0.5,
    )
    return config.callbacks(GameEnds).debugging(seed=arguments.seed).learners(num_learners=0)


def train(arguments: Arguments) -> list[dict[str, float]]:
    """Train, print one line an iteration, and return the numbers of these lines."""
    algorithm = configure(arguments).build_algo()
    lines = []
    try:
        for iteration in range(1, arguments.iterations + 1):
            began = time.monotonic()
            played = algorithm.train()["env_runners"]
            games = int(played.get("games", 0))
            line = {"return": float(played.get("episode_return_mean", 0)), "games": games}
            line |= {name: float(played.get(name, 0)) / max(games, 1) for name in ("won", "cut_off")}
            line |= {"illegal": int(played.get("illegal", 0)), "seconds": time.monotonic() - began}
            print(f"iteration {iteration}:", ", ".join(f"{name} {value:.3g}" for name, value in line.items()), flush=True)
            lines.append(line)
        if arguments.checkpoint:
            print("saved", algorithm.save_to_path(str(arguments.checkpoint.resolve())))
    finally:
        algorithm.stop()
    return lines


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for field in dataclasses.fields(Arguments):
        kind = Path if field.default is None else type(field.default)
        parser.add_argument("--" + field.name.replace("_", "-"), type=kind, default=field.default)
    arguments = Arguments(**vars(parser.parse_args()))
    torch.set_num_threads(1)  # threads of so small a network mostly wait for each other
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    cores = arguments.env_runners + 1  # Ray counts one for each process; more than there are share them
    ray.init(address="local", num_cpus=cores, include_dashboard=False, _node_ip_address="127.0.0.1")
    try:
        train(arguments)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
