"""Small arenas for tests, and policies that they name as ``module:callable``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import generals_env
from generals_env.arena.game_kind import game_config
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import make_players
from generals_env.arena.tournament import ArenaOptions, pairs_of, play_arena
from generals_env.config import GameConfig
from generals_env.engine.boards import Boards

SMALL = {"height": 8, "width": 8, "max_turns": 160}


def small(**options: Any) -> GameConfig:
    """Return the configuration of short games on small boards."""
    return game_config(**{**SMALL, **options})


def played(names: Sequence[str], games: int = 12, config: GameConfig | None = None, **options: Any) -> list[PlayedGame]:
    """Return the games of a round robin."""
    wanted = ArenaOptions(config=config or small(), games=games, **options)
    return play_arena(pairs_of(make_players(names)), wanted)


def middle_of_a_game(seed: int) -> Boards:
    """Return the board of a game on a small board after 30 turns."""
    venv = generals_env.make_vec(1, **SMALL)
    venv.reset(seed=seed)
    venv.play(30, ["expander", "random"])
    return venv.boards()


def first_legal(views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Choose the first legal action of each game."""
    return views["action_mask"].argmax(axis=1)


def one_plane(views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Choose the last legal action of each game, mostly the pass."""
    masks = views["action_mask"]
    return masks.shape[1] - 1 - masks[:, ::-1].argmax(axis=1)


def far_actions(views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Choose actions beyond the last one."""
    return np.full(len(views["action_mask"]), views["action_mask"].shape[1])


def one_action(views: Mapping[str, npt.NDArray[Any]]) -> int:
    """Choose one action for all games."""
    return 0


def unequal_lists(views: Mapping[str, npt.NDArray[Any]]) -> list[list[int]]:
    """Return lists that are no array."""
    return [[0], [0, 0]]


def broken(views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Fail."""
    raise KeyError("memory")


def all_planes(views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Choose the first legal action, and check that the layout is full."""
    assert views["observation"].shape[1] == 21
    return views["action_mask"].argmax(axis=1)


all_planes.channels = 21  # type: ignore[attr-defined]


def flat_logits(views: Mapping[str, Any]) -> Any:
    """Return equal logits."""
    import torch

    return torch.zeros(views["action_mask"].shape)


def __getattr__(name: str) -> Any:  # torch is imported by tests that ask for it only
    """Return ``flat``, a torch module that gives equal logits."""
    if name != "flat":
        raise AttributeError(name)
    import torch

    class Flat(torch.nn.Module):
        forward = staticmethod(flat_logits)

    return Flat()


def checkpoint(path: Path, seed: int = 0, builds: bool = False) -> Path:
    """Save a small network of random weights as ``generals-env train`` does, and return its path."""
    import torch

    from generals_env.recorders.training.checkpoints import save_checkpoint
    from generals_env.recorders.training.q_network import QNetwork

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_checkpoint(path, {"model": QNetwork((9, 1, 1), 4, 1, builds=builds).state_dict(), "step": 1})
    return path
