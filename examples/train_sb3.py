"""Trains masked PPO (sb3-contrib) against built-in opponents, then measures wins.

Run it with ``python examples/train_sb3.py``; ``--help`` shows the arguments. It needs ``pip install "generals_env[sb3]"``, and
writes logs for TensorBoard if that is installed. The model, ``progress.csv`` and ``curve.png``, drawn by matplotlib, are saved
in ``--out``.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import rich
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecMonitor
from torch import nn

import generals_env
from generals_env.learning.curves import draw_curve, read_curve
from generals_env.learning.evaluation import result_table
from generals_env.wrappers import Opponent, SB3VecEnv
from generals_env.wrappers.sb3_training import RecentWins

#: Gaining land is an early signal of victory; it counts more than losing land, which is often due to the enemy. The reward of a
#: victory exceeds what a longer game could bring.
REWARD = generals_env.RewardConfig(territory_gained=0.05, territory_lost=-0.03, win_game=3.0, lose_game=-1.0)


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    board: int = 8
    max_turns: int = 500
    opponent: str = "mixed"  # "random", "expander", or "mixed": every fourth game against "random"
    minutes: float = 20.0
    steps: int = 10**9  # training ends at the first of both limits
    seed: int = 0
    out: Path = Path("runs/train_sb3")
    games: int = 1000  # against each opponent, at the end
    num_envs: int = 128
    n_steps: int = 32
    batch_size: int = 512
    n_epochs: int = 4
    learning_rate: float = 2e-3  # falls to 2% of this over the minutes or the steps
    gamma: float = 0.99
    gae_lambda: float = 0.9
    ent_coef: float = 0.003
    channels: int = 32
    blocks: int = 1

    def options(self) -> dict[str, Any]:
        """Return the options of the games."""
        size = {"height": self.board, "width": self.board}
        return {**size, "max_turns": self.max_turns, "observation": "full", "reward": REWARD}

    def opponents(self) -> list[str]:
        """Return the name of the opponent of each game."""
        mixed = ["expander" if i % 4 else "random" for i in range(self.num_envs)]
        return mixed if self.opponent == "mixed" else [self.opponent] * self.num_envs


class Residual(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features of the shape of ``x``."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class BoardFeatures(BaseFeaturesExtractor):
    """Maps observations (B, 21, H, W) to features of each tile, (B, channels, H, W)."""

    def __init__(self, space: gymnasium.spaces.Dict, armies: list[int], channels: int, blocks: int) -> None:
        planes, height, width = space["observation"].shape
        super().__init__(space, channels * height * width)
        self.armies = armies
        first = nn.Conv2d(planes, channels, 3, padding=1)
        layers = nn.Sequential(first, nn.ReLU(), *(Residual(channels) for _ in range(blocks)))
        self.layers = layers.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the features; armies, scaled to thousands, are converted to logarithms, so that small differences count."""
        x = observations["observation"].clone(memory_format=torch.channels_last)
        x[:, self.armies] = torch.log1p(1000 * x[:, self.armies]) / 4
        return self.layers(x)


class ActionPlanes(nn.Module):
    """Logits in the order of the actions: all-but-one moves (tile, direction), half moves, pass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.planes = nn.Conv2d(channels, 8, 1)
        self.passing = nn.Linear(channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, 8*H*W + 1)."""
        moves = self.planes(features).unflatten(1, (2, 4)).permute(0, 1, 3, 4, 2)  # half, row, column, direction
        return torch.cat([moves.flatten(1), self.passing(features.mean((2, 3)))], dim=1)


class BoardValue(nn.Module):
    """Value head on the mean and maximum of each feature."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * channels, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, 1)."""
        return self.layers(torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1))


class BoardPolicy(MaskableActorCriticPolicy):
    """Actor and critic on shared convolutions; the logits of moves are computed tile by tile."""

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        self._build_mlp_extractor()  # without layers, as net_arch is empty
        channels = self.features_extractor_kwargs["channels"]
        self.action_net = ActionPlanes(channels)
        self.value_net = BoardValue(channels)
        with torch.no_grad():  # begin with nearly equal probabilities of all legal actions
            self.action_net.planes.weight *= 0.1
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


def mixed(names: list[str], seed: int) -> Callable[[Mapping[str, npt.NDArray[Any]]], npt.NDArray[np.int64]]:
    """Return a policy for a batch of games with a built-in policy for each game."""
    policies = [Opponent(name, seed + i) for i, name in enumerate(names)]
    return lambda views: np.array([act({key: views[key][i] for key in views}) for i, act in enumerate(policies)])


def falling(start: float, minutes: float) -> Callable[[float], float]:
    """Return a learning rate that falls with time, as the number of steps is often not known in advance, or with the steps."""
    began = time.monotonic()
    return lambda remaining: start * max(0.02, min(remaining, 1 - (time.monotonic() - began) / (60 * minutes)))


def train(arguments: Arguments) -> MaskablePPO:
    """Train a model, save it and return it."""
    opponent = mixed(arguments.opponents(), arguments.seed) if arguments.opponent == "mixed" else arguments.opponent
    games = gymnasium.make_vec(generals_env.ENV_ID, num_envs=arguments.num_envs, opponent=opponent, **arguments.options())
    env = VecMonitor(SB3VecEnv(games))  # the monitor logs the length of games
    armies = [k for k, name in enumerate(games.unwrapped.config.channels) if name.endswith(("_army", "_total"))]
    network = {"armies": armies, "channels": arguments.channels, "blocks": arguments.blocks}
    model = MaskablePPO(
        BoardPolicy,
        env,
        learning_rate=falling(arguments.learning_rate, arguments.minutes),
        policy_kwargs={"net_arch": [], "features_extractor_class": BoardFeatures, "features_extractor_kwargs": network},
        device="cpu",
        **{k: getattr(arguments, k) for k in ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "seed")},
    )
    formats = ["csv", "tensorboard"] if importlib.util.find_spec("tensorboard") else ["csv"]
    model.set_logger(configure(str(arguments.out), formats))
    model.learn(arguments.steps, callback=RecentWins(arguments.opponents(), REWARD, limit=arguments.minutes, show=True))
    model.logger.close()
    model.save(arguments.out / "model")
    env.close()
    return model


def main(arguments: Arguments) -> None:
    """Train, draw the curve, evaluate: the policy draws its actions, as in training."""
    model = train(arguments)
    size = f"{arguments.board}x{arguments.board}"
    if importlib.util.find_spec("matplotlib"):
        curve = read_curve(arguments.out / "progress.csv")
        title = f"Masked PPO on {size}: wins in the last 200 training games"
        draw_curve(curve, arguments.out / "curve.png", title=title, xlabel="minutes of training")
    print(f"on {size}:")
    rich.print(result_table(model, ("random", "expander"), arguments.games, seed=arguments.seed + 1, **arguments.options()))
    print(f"the model, progress.csv and curve.png (by matplotlib) are in {arguments.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    main(Arguments(**vars(parser.parse_args())))
