"""Saves a training so that it goes on bit for bit: ``save_training``, ``load_training``, ``Checkpoints``.

A file begins as one of ``networks.policy_file``: kind, shape, averaged weights and how they were made, so that it can be played
as it is. The key ``"trainer"`` holds the rest: the weights that learn, the optimizer, generators, counters, and the games in
whose middle the training stopped. Nothing in it is pickled code.

On the same machine and with one thread, going on gives the weights that a training without a stop gives, bit for bit, in
another process, too. Games against a planner, and those against an object of the user's without ``state`` and ``restore``, go
on, but their opponent has forgotten what it saw of them.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from generals_env.arguments import is_number
from generals_env.errors import ConfigError, StorageError
from generals_env.learning.ppo import PPO
from generals_env.learning.rollouts.game_group import GameGroup
from generals_env.learning.training.game_state import games_state, restore_games
from generals_env.networks.fingerprint import check_fingerprint, fingerprint
from generals_env.version import __version__

try:
    import torch

    from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint
except ModuleNotFoundError as error:
    raise ImportError(f'checkpoint: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["Checkpoints", "load_training", "save_training"]

#: Kind of the file, as ``networks.policy_file`` writes it.
KIND = "policy_network"

#: Version of the part of the trainer.
FORMAT = 1

#: Counters of a trainer.
COUNTERS = ("samples", "updates", "progress", "seconds")

#: Options that a training may go on with when they differ.
FREE = ("device",)


def save_training(path: str | Path, trainer: PPO) -> None:
    """Write a training, between two calls of ``iterate``, atomically.

    Raises:
        StorageError: If the file cannot be written; the previous file is unchanged.
    """
    save_checkpoint(path, training_content(trainer))


def training_content(trainer: PPO) -> dict[str, Any]:
    """Return what ``save_training`` writes."""
    played = trainer.agent
    made = {
        "algorithm": "ppo",
        "options": plain_options(trainer),
        "samples": int(trainer.samples),
        "versions": {"generals_env": __version__, "torch": str(torch.__version__), "python": platform.python_version()},
    }
    state: dict[str, Any] = {
        "format": FORMAT,
        "network": on_cpu(trainer.network.state_dict()),
        "averaged": on_cpu({k: v for k, v in trainer.averaged.state_dict().items() if not k.startswith("module.")}),
        "optimizer": trainer.optimizer.state_dict(),
        "numpy": trainer.rng.bit_generator.state,
        "torch": torch.get_rng_state(),
        "counters": {name: getattr(trainer, name) for name in COUNTERS},
        "self_play": trainer.self_play.state(),
        "groups": [group_state(group) for group in trainer.collector.groups],
    }
    if trainer.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(trainer.device)
    return {
        "kind": KIND,
        "network": trainer.network.options(),
        "weights": on_cpu(played.state_dict()),
        "made": made,
        "step": int(trainer.samples),
        "fingerprint": fingerprint(played),
        "trainer": state,
    }


def load_training(path: str | Path, trainer: PPO, other_options: bool = False) -> bool:
    """Let a trainer that has not begun go on where a saved one stopped; return False if there is no such file.

    Args:
        path: The file.
        trainer: A trainer with the options of the saved one.
        other_options: Whether other options are allowed; the network and the games must fit all the same.

    Raises:
        ConfigError: If the options are others.
        StorageError: If the file is damaged, or not one of ``save_training``.
    """
    content = load_checkpoint(path)
    if content is None:
        return False
    state = content.get("trainer")
    if content.get("kind") != KIND or not isinstance(state, Mapping) or state.get("format") != FORMAT:
        raise StorageError(
            f"path: expected a training of format {FORMAT}, got {str(path)!r} without one: its network can be played, but "
            "training cannot go on from it; pass another path to begin anew"
        )
    if not other_options:
        check_options_of(content["made"]["options"], plain_options(trainer), path)
    try:
        restore_trainer(trainer, content, state)
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:  # torch raises these for what does not fit
        raise StorageError(
            f"path: expected a training that fits these options, got {str(path)!r} ({type(error).__name__}: {error!s:.300}): "
            "pass the options that it was saved with"
        ) from error
    check_fingerprint(trainer.agent, content["fingerprint"], path)
    return True


def restore_trainer(trainer: PPO, content: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write the state of a checkpoint into a trainer."""
    trainer.network.load_state_dict(state["network"])
    weights = {f"module.{name}": tensor for name, tensor in content["weights"].items()}
    trainer.averaged.load_state_dict({**weights, **state["averaged"]})
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.self_play.restore(state["self_play"])
    trainer.collector = trainer._collector()  # the games of the stage
    trainer.self_play.restore(state["self_play"])  # beginning games has drawn random numbers
    groups = trainer.collector.groups
    saved = [(group["name"], group["games"]) for group in state["groups"]]
    if saved != [(group.name, group.venv.num_envs) for group in groups]:
        raise ValueError(f"its games are {saved}")
    for group, kept in zip(groups, state["groups"], strict=True):
        restore_group(group, kept)
    for name, value in state["counters"].items():
        if name in COUNTERS and is_number(value):
            setattr(trainer, name, value)
    trainer.rng.bit_generator.state = state["numpy"]
    torch.set_rng_state(state["torch"])
    if trainer.device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], trainer.device)


def group_state(group: GameGroup) -> dict[str, Any]:
    """Return the games of a group, and what its opponent keeps."""
    state: dict[str, Any] = {"name": group.name, "games": group.venv.num_envs, "state": games_state(group.venv)}
    state["results"] = torch.from_numpy(group.results.copy())
    if hasattr(group, "members"):  # of a pool
        state["members"] = torch.from_numpy(group.members.copy())
    policy: Any = group.policy
    if hasattr(policy, "state") and hasattr(policy, "restore"):
        state["opponent"] = policy.state()
    return state


def restore_group(group: GameGroup, state: Mapping[str, Any]) -> None:
    """Continue the games of ``group_state``."""
    restore_games(group.venv, state["state"])
    group.results[:] = state["results"].numpy()
    group._potential = group._potentials(group.venv.batch.boards)
    if hasattr(group, "members"):
        group.members[:] = state["members"].numpy()
    policy: Any = group.policy
    if "opponent" in state:
        policy.restore(state["opponent"])


def on_cpu(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state dict with tensors of its own on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}


def plain_options(trainer: PPO) -> dict[str, Any]:
    """Return the options as values of JSON; others as texts."""
    options: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(trainer.config), default=str, sort_keys=True))
    return options


def check_options_of(saved: Mapping[str, Any], given: Mapping[str, Any], path: str | Path) -> None:
    """Raise ``ConfigError`` if options differ from those of a checkpoint."""
    names = sorted((saved.keys() | given.keys()) - set(FREE))
    other = [
        f"{name} {given.get(name)!r:.80} instead of {saved.get(name)!r:.80}"
        for name in names
        if saved.get(name) != given.get(name)
    ]
    if other:
        raise ConfigError(
            f"options: expected those of {str(path)!r}, got {', '.join(other)}: pass the same ones, or another path "
            "to begin anew"
        )


class Checkpoints:
    """Saves a training now and then, at its end, and when it is interrupted.

    ::

        with Checkpoints(trainer, "runs/first.pt") as checkpoints:
            trainer.train(20, checkpoints.report)

    While the block runs, Ctrl-C, SIGTERM (of Slurm, Docker and systemd) and SIGHUP let the iteration end, save, and then raise
    ``KeyboardInterrupt``. A second Ctrl-C raises it at once, and the last file stays.

    Attributes:
        path: The file.
        saved: How often it was written.
    """

    def __init__(self, trainer: PPO, path: str | Path, every: float = 60.0) -> None:
        """Save ``trainer`` to ``path`` every so many seconds.

        Raises:
            ConfigError: If ``every`` is not a positive number.
        """
        if not is_number(every) or not every > 0:
            raise ConfigError(f"every: expected a number of seconds above 0, got {every!r:.80}")
        self.path = Path(path)
        self.saved = 0
        self._trainer, self._every = trainer, every
        self._last = time.monotonic()
        self._signalled = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals, in the main thread."""
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
                    self._before[number] = signal.signal(number, self._end)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Give the signals back, and save, unless an error left the training in the middle of an iteration."""
        self._give_back()
        if kind is None:
            self.save()

    def report(self, figures: Mapping[str, float]) -> None:
        """Save if it is time to, or a signal came; to be called after each iteration.

        Raises:
            KeyboardInterrupt: If a signal came; the training is saved.
            StorageError: If the file cannot be written.
        """
        if self._signalled or time.monotonic() - self._last >= self._every:
            self.save()
        if self._signalled:
            before = self._before.get(self._signalled)
            self._give_back()
            if callable(before):
                signal.raise_signal(self._signalled)  # those who wait outside learn of it, too
            raise KeyboardInterrupt

    def save(self) -> None:
        """Write the file now."""
        save_training(self.path, self._trainer)
        self.saved += 1
        self._last = time.monotonic()

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = number

    def _give_back(self) -> None:
        """Install the handlers of before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
