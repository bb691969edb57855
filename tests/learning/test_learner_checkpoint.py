"""Trainings that go on from a checkpoint, in another process, as if they had never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.paths import ROOT
from support.small_trainings import SMALL, trained, weights_of

import generals_env
from generals_env.errors import ConfigError, StorageError
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.training.checkpoint import Checkpoints, load_training, save_training
from generals_env.learning.training.game_state import games_state, restore_games
from generals_env.networks.policy_network import PolicyNetwork
from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint

#: What another process runs: it goes on from a file, and writes its weights to another one.
GO_ON = """
import sys, torch
torch.set_num_threads(1)
from support.small_trainings import SMALL, trained, weights_of
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.training.checkpoint import load_training
trainer = PPO(PPOConfig(**SMALL))
assert load_training(sys.argv[1], trainer)
torch.save({**weights_of(trained(trainer, 2, 4)), "samples": trainer.samples}, sys.argv[2])
"""


def test_training_goes_on_in_another_process_bit_for_bit(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = PPOConfig(**SMALL)
    whole = trained(PPO(config), 0, 4)
    first = trained(PPO(config), 0, 2)
    save_training(tmp_path / "half.pt", first)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    arguments = [sys.executable, "-c", GO_ON, str(tmp_path / "half.pt"), str(tmp_path / "end.pt")]
    subprocess.run(arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=True)
    found = torch.load(tmp_path / "end.pt", weights_only=True)
    assert found.pop("samples") == whole.samples
    expected = weights_of(whole)
    assert found.keys() == expected.keys()
    other = [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])]
    assert not other
    before = weights_of(first)  # and two more iterations have changed all of them
    assert not any(torch.equal(before[name], tensor) for name, tensor in expected.items() if "weight" in name)


def test_checkpoint_has_the_averaged_network_as_a_player(tmp_path: Path) -> None:
    trainer = trained(PPO(PPOConfig(**SMALL)), 0, 1)
    save_training(tmp_path / "a.pt", trainer)
    content = load_checkpoint(tmp_path / "a.pt")
    assert content is not None
    assert content["kind"] == "policy_network"
    assert content["made"]["options"]["games"] == 15
    assert content["step"] == trainer.samples
    network = PolicyNetwork(**content["network"]).eval()
    network.load_state_dict(content["weights"])
    states = torch.rand(3, 21, 5, 5)
    with torch.no_grad():
        assert torch.equal(network(states)[0], trainer.averaged.module.eval()(states)[0])
        assert not torch.equal(network(states)[0], trainer.network.eval()(states)[0])


def test_another_network_than_was_trained_is_refused(tmp_path: Path) -> None:
    trainer = PPO(PPOConfig(**SMALL))
    save_training(tmp_path / "a.pt", trainer)
    content = load_checkpoint(tmp_path / "a.pt")
    assert content is not None
    content["weights"]["moves.weight"] *= -1
    save_checkpoint(tmp_path / "b.pt", content)
    with pytest.raises(StorageError, match=r"expected the network that was trained, got .* answers differently"):
        load_training(tmp_path / "b.pt", PPO(PPOConfig(**SMALL)))


def test_checkpoint_says_what_it_cannot_go_on_from(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    trainer = PPO(PPOConfig(**SMALL))
    assert not load_training(path, trainer)
    save_training(path, trainer)
    other = PPOConfig(**{**SMALL, "gamma": 0.5})
    with pytest.raises(ConfigError, match=r"options: expected those of .*a.pt', got gamma 0.5 instead of 0.99"):
        load_training(path, PPO(other))
    assert load_training(path, PPO(other), other_options=True)
    for changes in ({"channels": 9}, {"games": 16}, {"board": 6}):
        with pytest.raises(StorageError):
            load_training(path, PPO(PPOConfig(**{**SMALL, **changes})), other_options=True)
    save_checkpoint(path, {"kind": "policy_network"})
    with pytest.raises(StorageError, match="expected a training of format 1"):
        load_training(path, trainer)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StorageError, match="expected a checkpoint"):
        load_training(path, trainer)


@pytest.mark.parametrize("policy", ["hunter", "expander"])
def test_games_go_on_as_they_would_have(policy: str) -> None:
    options: dict[str, Any] = {"height": 7, "width": 7, "max_turns": 60, "observation": "full"}
    one, other = generals_env.make_vec(5, **options), generals_env.make_vec(5, **options)
    one.reset(seed=4)
    for _ in range(45):
        one.step(one.act((policy, policy)))
    other.reset(seed=99)
    restore_games(other, games_state(one))
    for _ in range(90):
        seen, expected = other.observe(), one.observe()
        assert all(np.array_equal(seen[name], expected[name]) for name in seen)
        actions = one.act((policy, policy))
        assert np.array_equal(other.act((policy, policy)), actions)
        found, wanted = other.step(actions), one.step(actions)
        assert all(np.array_equal(found[k], wanted[k]) for k in (1, 2, 3))


def test_games_that_would_make_kernels_read_out_of_bounds_are_refused() -> None:
    options: dict[str, Any] = {"height": 6, "width": 6}
    venv = generals_env.make_vec(2, **options)
    venv.reset(seed=0)
    for _ in range(12):
        venv.step(venv.act(("hunter", "hunter")))
    state = games_state(venv)
    for name in ("boards_owner", "boards_players"):
        with pytest.raises(StorageError, match="games: expected the state of running games"):
            restore_games(venv, {**state, name: torch.full_like(state[name], 77)})
    for name in ("words", "queue", "home"):
        hunter = {**state["hunter"], name: torch.full_like(state["hunter"][name], 77)}
        with pytest.raises(StorageError, match="of the hunter"):
            restore_games(venv, {**state, "hunter": hunter})
    with pytest.raises(StorageError, match="games: expected 4 bytes of active"):
        restore_games(venv, {**state, "active": torch.zeros(1, dtype=torch.uint8)})
    with pytest.raises(StorageError, match="games: expected the state of running games"):
        restore_games(venv, {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_iteration_and_saves(number: signal.Signals, tmp_path: Path) -> None:
    trainer = PPO(PPOConfig(**{**SMALL, "opponents": "random"}))
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.default_int_handler)  # a shell lets background processes ignore SIGINT
    iterations = []

    def iterate(checkpoints: Checkpoints) -> None:
        while True:
            figures = trainer.iterate()
            iterations.append(figures)
            assert len(iterations) <= 2
            if len(iterations) == 2:
                os.kill(os.getpid(), number)
                assert trainer.samples > 0  # the handler only notes the signal
            checkpoints.report(figures)

    try:
        checkpoints = Checkpoints(trainer, tmp_path / "a.pt")
        with pytest.raises(KeyboardInterrupt), checkpoints:
            iterate(checkpoints)
    finally:
        for each, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(each, handler)
    assert len(iterations) == 2
    assert checkpoints.saved == 1
    again = PPO(trainer.config)
    assert load_training(tmp_path / "a.pt", again)
    assert again.samples == trainer.samples == 2 * 8 * 15


def test_training_is_saved_now_and_then_and_at_its_end(tmp_path: Path) -> None:
    trainer = PPO(PPOConfig(**{**SMALL, "opponents": "random"}))
    with Checkpoints(trainer, tmp_path / "a.pt", every=1e-9) as checkpoints:
        checkpoints.report(trainer.iterate())
        checkpoints.report(trainer.iterate())
        assert checkpoints.saved == 2
    assert checkpoints.saved == 3
    with pytest.raises(RuntimeError, match="in the middle"), checkpoints:
        raise RuntimeError("in the middle")
    assert checkpoints.saved == 3  # the last whole iteration stays
    with pytest.raises(ConfigError, match="every: expected a number of seconds above 0, got 0"):
        Checkpoints(trainer, tmp_path / "a.pt", every=0)
