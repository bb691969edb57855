"""Tests games with builds in datasets, exports, spilled segments, and the learners and wrappers that read or play them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.recorded import CASTLES, facts, games_of, record_game
from support.refusals import refused

import generals_env
from generals_env.errors import ConfigError
from generals_env.recorders import DatasetWriter, ExperienceBatch, ExperienceRecorder, ReplayBuffer, SpillBuffer, open_dataset
from generals_env.recorders.datasets.environment_spec import Origins
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.formats import format_of
from generals_env.single import GeneralsSingleVector
from generals_env.wrappers import RandomSymmetry, SB3VecEnv

#: Generals next to each other, and armies around them.
CLOSE = "-90 -90 . .\n-90 A . -90\n-90 . B -90\n. . -90 -90"

OPTIONS: dict[str, Any] = {"rules": "competition", "map": CASTLES, "touch_turn": 30, "max_turns": 40}


@pytest.mark.parametrize("form", ["npz", "parquet", "tfrecord", "games"])
def test_folder_of_games_with_builds_is_read_back(form: str, tmp_path: Path) -> None:
    whole = ExperienceBatch.concat(games_of("builds", 2))
    with DatasetWriter(tmp_path / "data", format=form) as writer:
        for game in games_of("builds", 2):
            writer.write(game)
    assert sorted(facts(ExperienceBatch.concat(list(open_dataset(tmp_path / "data"))))) == sorted(facts(whole))


@pytest.mark.parametrize("ends", [(0, 1), (1, 0), (0, 0)])
def test_games_decided_by_a_touch_go_through_stores_and_formats(ends: tuple[int, int]) -> None:
    games = (record_game(seed, 60, rules="competition", map=CLOSE, touch_turn=6) for seed in (*range(76, 83), *range(400)))
    decided = (game for game in games if tuple(game.boards.players["alive"][-1]) == ends)
    game = next(game for game in decided if (game.action > 8 * 16).any())
    for store in ("boards", "games", "zstd"):
        buffer = ReplayBuffer(1000, store=store)
        buffer.write(game)
        assert facts(buffer.snapshot()) == facts(game)
    for name in ("npz", "parquet", "tfrecord", "games"):
        form = format_of(name)
        assert facts(form.decode(form.encode(game))) == facts(game)
    assert facts(decode_batch(encode_batch(game))) == facts(game)


def test_spilled_segments_keep_builds(tmp_path: Path) -> None:
    games = games_of("builds", 5)
    buffer = SpillBuffer(tmp_path, max_bytes=2 * games[0].nbytes)
    for game in games:
        buffer.write(game)
    assert buffer.stats().on_disk > 0
    for game in games:
        read = buffer.read(len(game))
        assert read is not None
        assert facts(read) == facts(game)
    buffer.close()


def test_environment_of_recorded_builds_is_derived() -> None:
    parts: list[ExperienceBatch] = []
    sink = ReplayBuffer(1000)
    env = ExperienceRecorder(generals_env.make_vec(2, **OPTIONS), sink)
    env.reset(seed=1)
    env.play(20, ("random", "random"))
    env.flush()
    parts.append(sink.snapshot())
    origins = Origins()
    origins.add(parts[0])
    spec = origins.spec(parts[0])
    assert spec is not None
    assert spec.kwargs["rules"] == "competition"
    assert parts[0].metadata["rules"] == "competition"
    env.close()


def test_random_symmetry_turns_builds(tmp_path: Path) -> None:
    sink = ReplayBuffer(10_000)
    env: Any = ExperienceRecorder(RandomSymmetry(generals_env.make_vec(4, **OPTIONS), seed=1), sink)
    views, _ = env.reset(seed=3)
    rng, built, passes = np.random.default_rng(0), 0, 8 * 30
    for _ in range(30):
        masks = views["action_mask"]
        scores = rng.random(masks.shape) * masks
        actions = scores.argmax(-1)
        built += int((actions > passes).sum())
        views, *_, infos = env.step(actions)
        assert not infos["illegal_action"].any()
    env.flush()
    batch = sink.snapshot()
    assert int((batch.action > passes).sum()) == built > 5
    env.close()


def test_sb3_buffer_takes_builds_and_refuses_other_games() -> None:
    pytest.importorskip("stable_baselines3")
    from generals_env.recorders.buffers.sb3_buffer import BoardReplayBuffer

    env = SB3VecEnv(GeneralsSingleVector(2, "random", **OPTIONS))
    buffer = BoardReplayBuffer(100, env.observation_space, env.action_space, n_envs=2, env=env)
    seen = env.reset()
    rng = np.random.default_rng(2)
    for _ in range(10):
        actions = (rng.random(seen["action_mask"].shape) * seen["action_mask"]).argmax(1)
        following, rewards, done, infos = env.step(actions)
        buffer.add(seen, following, actions, rewards, done, infos)
        seen = following
    assert buffer.sample(5).observations["action_mask"].shape == (5, 9 * 30 + 1)
    assert buffer.fill(games_of("builds", 1), player=0) == 90
    with refused(ConfigError, "batches: expected masks of (271,), got games of another action space (builds=False)"):
        buffer.fill([games_of("smaller", 1)[0]])


def test_network_values_builds_and_is_loaded_with_them(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from generals_env.recorders import DistributedTrainer
    from generals_env.recorders.training.network_policy import load_policy
    from generals_env.recorders.training.q_network import QNetwork

    batch, path = games_of("builds", 1)[0], tmp_path / "model.pt"
    model = QNetwork(batch.state_shape, 4, 0, builds=True)
    assert model(torch.from_numpy(batch.states()[:3])).shape == (3, 9 * 30 + 1)
    with DistributedTrainer([batch], model, config={"min_size": 100, "batch_size": 8}, checkpoint=path) as trainer:
        assert np.isfinite(trainer.train(2)["loss"])
        trainer.save()
    policy = load_policy(path)
    views = {"observation": batch.states()[:7], "action_mask": batch.action_masks()[:7]}
    assert views["action_mask"][np.arange(7), policy(views)].all()
    with refused(ConfigError, "action_mask: expected 271 actions, as in the training of the network, got 241"):
        policy({**views, "action_mask": views["action_mask"][:, :241]})
