"""Tests policies for whole batches: equal to the plain path, legal, and independent of how states are batched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import generals_env
from generals_env.errors import ConfigError
from generals_env.observations.joined import joined
from generals_env.recorders import DevicePolicy, QNetwork
from generals_env.recorders.training.masked_choice import drawn_legal
from generals_env.recorders.training.network_policy import NetworkPolicy
from generals_env.recorders.training.pinned_room import PinnedRoom

CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")
)

GAMES: dict[str, dict[str, Any]] = {
    "two players": {"height": 8, "width": 9},
    "eliminated players": {"height": 6, "width": 7, "players": 4},
    "full layout": {"height": 7, "width": 7, "observation": "full"},
    "builds": {"height": 8, "width": 8, "rules": "competition"},
}


@pytest.fixture(params=["cpu", CUDA])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=GAMES)
def games(request: pytest.FixtureRequest) -> Iterator[generals_env.GeneralsVector]:
    """Return 20 games after some turns."""
    env = generals_env.make_vec(20, **GAMES[request.param])
    env.reset(seed=1)
    env.play(150, ("expander",) * env.config.players)
    yield env
    env.close()


def network_for(env: Any, seed: int = 1) -> QNetwork:
    torch.manual_seed(seed)
    channels, *shape = env.single_observation_space["observation"].shape[-3:]
    return QNetwork((channels, *shape), 8, 1, builds=env.config.actions > 8 * shape[0] * shape[1] + 1)


def test_device_policy_equals_the_plain_path(games: Any, device: str) -> None:
    network = network_for(games)
    assert games.packed().shown.all() == (games.config.players == 2)
    seen = {name: array.reshape(-1, *array.shape[2:]) for name, array in games.observe().items()}
    wanted = NetworkPolicy(network)(seen).reshape(games.num_envs, -1)
    policy = DevicePolicy(network, device=device, temperature=0)
    observations, shared = games.observe(), games.to_torch()
    for chosen in (
        policy.act_on_boards(games.packed()),
        policy.act(observations["observation"], observations["action_mask"]),
        policy.act(shared["observation"], shared["action_mask"]),
        policy(seen).reshape(games.num_envs, -1),
    ):
        assert chosen.dtype == np.int64
        assert np.array_equal(chosen, wanted)


def test_drawn_actions_depend_on_neither_path_nor_batch(games: Any, device: str) -> None:
    network, seen, views = network_for(games), games.observe(), games.packed()
    policy = DevicePolicy(network, device=device, seed=3)
    wanted = policy.act_on_boards(views)
    policy.reset(3)
    assert np.array_equal(policy.act(seen["observation"], seen["action_mask"]), wanted)
    policy.reset(3)
    numbers = policy.numbers(wanted.shape)
    assert numbers is not None
    parts = [views[:3], views[3:4], views[4:]]
    together = np.concatenate(policy.evaluate(parts, numbers))
    assert np.array_equal(together, wanted)
    arrays = [(seen["observation"][rows], seen["action_mask"][rows]) for rows in (slice(7), slice(7, 20))]
    assert np.array_equal(np.concatenate(policy.evaluate(arrays, numbers)), wanted)
    assert not np.array_equal(policy.act_on_boards(views), wanted)  # other numbers
    for alone in (0, 13):
        one = DevicePolicy(network, device=device).evaluate(
            [views[alone]], numbers.reshape(wanted.shape)[alone : alone + 1].ravel()
        )
        assert np.array_equal(one[0][0], wanted[alone])


class Spoiled(torch.nn.Module):
    """Gives scores that are infinite, or no numbers, for a part of the actions."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        tiles = states.shape[2] * states.shape[3]
        scores = states.sum(1).flatten(1).repeat(1, 8) * 50
        scores[:, ::3], scores[:, 1::7], scores[:, 2::5] = torch.nan, torch.inf, -torch.inf
        return torch.nn.functional.pad(scores, (0, 8 * tiles + 1 - scores.shape[1]))


@pytest.mark.parametrize("temperature", [0, 1e-3, 1.0])
@pytest.mark.parametrize("spoiled", [False, True])
def test_device_policy_never_plays_illegal_actions(temperature: float, spoiled: bool, device: str) -> None:
    env = generals_env.make_vec(16, height=6, width=6, max_turns=60)
    network = Spoiled() if spoiled else network_for(env)
    policy = DevicePolicy(network, device=device, temperature=temperature, seed=1)
    env.reset(seed=1)
    for _ in range(70):
        *_, infos = env.step(policy.act_on_boards(env.packed()))
        assert not infos["illegal_action"].any()


def test_actions_are_drawn_by_their_probabilities() -> None:
    scores = torch.tensor([[0.0, 1.0, 9.0, -torch.inf, 2.0, 0.5]])
    legal = torch.tensor([[True, True, False, True, True, False]])
    count = 100_000
    numbers = (torch.arange(count, dtype=torch.float32) + 0.5) / count
    for temperature in (0.5, 1.0, 4.0):
        drawn = drawn_legal(scores.expand(count, -1), legal.expand(count, -1), numbers, temperature)
        shares = torch.where(legal, scores / temperature, -torch.inf).softmax(1)[0]
        assert torch.allclose(torch.bincount(drawn, minlength=6) / count, shares, atol=1e-4)
    one = torch.tensor([[False] * 5 + [True]])
    assert drawn_legal(scores, one, torch.tensor([1.0])).item() == 5  # the largest number that rounding can give


def test_bfloat16_chooses_mostly_the_same_actions(device: str) -> None:
    env = generals_env.make_vec(32, height=8, width=8)
    env.reset(seed=1)
    env.play(60, ("expander", "expander"))
    network = network_for(env)
    exact, rounded = (DevicePolicy(network, device=device, bfloat16=flag, seed=1) for flag in (False, True))
    same = exact.act_on_boards(env.packed()) == rounded.act_on_boards(env.packed())
    assert same.mean() > 0.8


def test_device_policy_takes_new_weights(device: str) -> None:
    env = generals_env.make_vec(8, height=8, width=8)
    env.reset(seed=1)
    policy = DevicePolicy(network_for(env), device=device, temperature=0)
    assert policy.set_weights(network_for(env, 2).state_dict()) == 1
    assert policy.set_weights(network_for(env, 2).state_dict(), 7) == policy.version == 7
    fresh = DevicePolicy(network_for(env, 2), device=device, temperature=0)
    assert np.array_equal(policy.act_on_boards(env.packed()), fresh.act_on_boards(env.packed()))
    with pytest.raises(ConfigError, match=r"^weights: expected those of the network of the policy, got others"):
        policy.set_weights(QNetwork((9, 8, 8), 16, 1).state_dict())
    assert np.array_equal(policy.act_on_boards(env.packed()), fresh.act_on_boards(env.packed()))


def test_device_policy_refuses_what_does_not_fit() -> None:
    env = generals_env.make_vec(2, height=8, width=8, observation="full")
    env.reset(seed=1)
    views = env.observe()
    policy = DevicePolicy(QNetwork((9, 8, 8), 8, 1))
    with pytest.raises(ConfigError, match=r"^network: expected one that takes states of shape \(32, 21, 8, 8\), got an error"):
        policy.act_on_boards(env.packed())
    with pytest.raises(ConfigError, match=r"^masks: expected one for each observation of shape \(2, 2, 21, 8, 8\), got \(2, "):
        policy.act(views["observation"], views["action_mask"][:, 0])
    builder = DevicePolicy(QNetwork((21, 8, 8), 8, 1, builds=True))
    with pytest.raises(ConfigError, match=r"^network: expected scores of shape \(4, 513\), .* got \(4, 577\)"):
        builder.act_on_boards(env.packed())
    for options, name in (({"temperature": -1}, "temperature"), ({"chunk": -1}, "chunk"), ({"seed": "a"}, "seed")):
        with pytest.raises(ConfigError, match=f"^{name}: "):
            DevicePolicy(QNetwork((9, 8, 8), 8, 1), **options)  # type: ignore[arg-type]
    for wrong in ({"device": "abacus"}, {"device": None}, {"chunk": 0}):
        with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}: expected"):
            DevicePolicy(QNetwork((9, 8, 8)), **wrong)
    small = DevicePolicy(QNetwork((9, 8, 8)))
    with pytest.raises(ConfigError, match=r"^weights: expected a state dict"):
        small.set_weights({"features": 5})
    with pytest.raises(ConfigError, match=r"^version: expected an integer"):
        small.set_weights(small.network.state_dict(), version=True)
    with pytest.raises(ConfigError, match=r"^network: expected a torch module, got 3"):
        DevicePolicy(3)  # type: ignore[arg-type]


def test_joined_observations_keep_all_boards(games: Any) -> None:
    room = PinnedRoom(pinned=False)
    games.batch.boards.army[::3, :5] = 100_000  # wide boards
    views = games.packed()
    games.play(3, ("expander",) * games.config.players)
    games.batch.boards.army[1, :5] = 70_000
    later = games.packed()
    whole, part, other = views.expanded(), views[2:7].expanded(), later.expanded()
    for _ in range(3):
        room.clear()
        found = joined([views[2:7], later, views], room.take).expanded()
        for name, array in found.items():
            parts = [one[name].reshape(-1, *array.shape[1:]) for one in (part, other, whole)]
            assert np.array_equal(array, np.concatenate(parts))


def test_observations_of_other_kinds_are_not_joined() -> None:
    views = []
    for options in ({}, {"observation": "full"}, {"width": 7}, {"players": 3}):
        env = generals_env.make_vec(2, **{"height": 8, "width": 8, **options})
        env.reset(seed=1)
        views.append(env.packed())
    for other in views[1:]:
        with pytest.raises(ConfigError, match=r"^parts: expected observations of one kind, got "):
            joined([views[0], other])
    with pytest.raises(ConfigError, match=r"^parts: "):
        joined([])


def test_pinned_room_lends_places_once() -> None:
    room = PinnedRoom(pinned=False)
    for _ in range(3):
        room.clear()
        lent = [room.take((size, 3), np.dtype(kind)) for size in (5, 1, 700) for kind in (np.int16, np.float64, np.uint8)]
        for number, array in enumerate(lent):
            array[:] = number
        assert all((array == number).all() for number, array in enumerate(lent))
    assert room.nbytes >= sum(array.nbytes for array in lent)
