"""Tests DistributedTrainer: loss, sources, priorities, checkpoints, and recovery from killed trainers and servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.datasets import recorded
from support.helpers import PATIENCE, Memory, wait_until
from support.stream_process import ServerProcess
from torch import nn

from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import DatasetWriter, ExperienceBatch, ExperienceConsumer, Retry, open_dataset
from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint
from generals_env.recorders.training.config import TrainerConfig
from generals_env.recorders.training.double_dqn import double_dqn_loss
from generals_env.recorders.training.q_network import QNetwork
from generals_env.recorders.training.replay_ratio import PacedSink
from generals_env.recorders.training.trainer import DistributedTrainer

SMALL = TrainerConfig(capacity=2000, min_size=100, batch_size=16, n_step=1, target_every=5, seed=1)

SHAPE = (9, 6, 7)


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded(6)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Let small networks do without a second thread: to wake it takes longer than it helps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(seed: int = 1) -> QNetwork:
    torch.manual_seed(seed)
    return QNetwork(SHAPE, channels=8, blocks=1)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def keys(batch: ExperienceBatch) -> list[tuple[str, int, int]]:
    return list(zip(batch.game_id.tolist(), batch.player_id.tolist(), batch.turn.tolist(), strict=True))


# --- The loss ---------------------------------------------------------------------------------------------------------


def test_loss_equals_masked_double_q_learning(batches: list[ExperienceBatch]) -> None:
    """Once more, one experience at a time, in plain Python."""
    whole = ExperienceBatch.concat(batches)
    ends = np.flatnonzero(whole.terminated | whole.truncated)
    batch = whole.n_step(3, 0.9).select(np.concatenate([ends[-6:], np.arange(40)]))
    rows = batch.rows.copy()
    rows["truncated"][:3], rows["terminated"][:3] = True, False
    rows["terminated"][3:6], rows["truncated"][3:6] = True, False
    tensors = replace(batch, rows=rows).to_torch()
    torch.manual_seed(0)
    table = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(SHAPE)), 8 * 42 + 1))
    target = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(SHAPE)), 8 * 42 + 1))
    weights = torch.rand(len(batch))
    found = double_dqn_loss(table, target, tensors, weights, 0.9)
    losses, errors, masked = [], [], 0
    for k in range(len(batch)):
        value = table(tensors.states[k : k + 1])[0, tensors.actions[k]].item()
        guesses = table(tensors.next_states[k : k + 1])[0].tolist()
        legal = np.flatnonzero(tensors.next_action_masks[k].numpy())
        best = max(legal, key=guesses.__getitem__)
        masked += best != int(np.argmax(guesses))
        goal = tensors.rewards[k].item()
        if k not in (3, 4, 5):
            goal += 0.9 ** int(tensors.steps[k]) * target(tensors.next_states[k : k + 1])[0, best].item()
        errors.append(goal - value)
        size = abs(goal - value)
        losses.append(weights[k].item() * (size**2 / 2 if size < 1 else size - 0.5))
    assert masked > len(batch) / 2  # nearly all that looks good is illegal
    assert set(tensors.steps.tolist()) >= {1, 3}
    np.testing.assert_allclose(found.errors.numpy(), errors, atol=1e-5)
    assert found.loss.item() == pytest.approx(np.mean(losses), abs=1e-5)
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert all(part.grad is not None for part in table.parameters())
    assert all(part.grad is None for part in target.parameters())


def test_network_values_each_move_at_its_tile(batches: list[ExperienceBatch]) -> None:
    """Boards that are shifted by a tile have moves of shifted values."""
    model = QNetwork((9, 8, 8), channels=8, blocks=0)
    states = torch.zeros(1, 9, 8, 8)
    states[0, :, 3, 3] = torch.rand(9)
    values, shifted = model(states), model(states.roll(1, 3))
    assert values.shape == (1, 8 * 64 + 1)
    moves, others = (part[0, :-1].reshape(2, 8, 8, 4) for part in (values, shifted))
    torch.testing.assert_close(moves.roll(1, 2), others)
    assert model(torch.zeros(2, 9, 5, 4)).shape == (2, 161)
    one, two = torch.zeros(1, 9, 8, 8), torch.zeros(1, 9, 8, 8)
    one[0, 0, 2, 2], two[0, 0, 2, 2] = 0.001, 0.002  # one man and two
    assert not torch.allclose(model(one), model(two), atol=1e-4)


# --- Learning ---------------------------------------------------------------------------------------------------------


def test_values_converge_to_expected_ones(batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    rows = whole.rows.copy()
    rows["reward"] = np.where(whole.action >= 4 * 42, 1.0, -1.0)  # half moves are good
    told = replace(whole, rows=rows)
    config = replace(SMALL, gamma=0.0, learning_rate=3e-3, batch_size=64)  # nothing counts but the next reward
    with DistributedTrainer([told], network(), config=config) as trainer:
        before = trainer.train(1)
        after = trainer.train(150)
        tensors = told.to_torch()
        with torch.no_grad():
            values = trainer.model(tensors.states).gather(1, tensors.actions[:, None])[:, 0]
    assert (values.sign() == tensors.rewards.sign()).float().mean() > 0.95
    assert after["loss"] < before["loss"] / 2
    assert (after["step"], after["buffer"], after["received"]) == (151, len(whole), len(whole))


def test_streams_and_datasets_train_the_same(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    whole = sorted(keys(ExperienceBatch.concat(batches)))
    with DatasetWriter(tmp_path / "files") as writer:
        for batch in batches:
            writer.write(batch)
    with ServerProcess(log={"folder": str(tmp_path / "log")}) as server:
        for batch in batches:
            server.write(batch)
        config = replace(SMALL, min_size=len(whole))
        sources: list[Any] = [batches, iter(batches), open_dataset(tmp_path / "files"), server.address]
        for source in (*sources, ExperienceConsumer(server.address)):
            with DistributedTrainer(source, network(), config=config) as trainer:
                found = trainer.train(3)
                assert sorted(keys(trainer.buffer.snapshot())) == whole
            assert found["step"] == 3
            assert found["received"] == len(whole)
            assert ("restarts" in found) == (not isinstance(source, list | Iterator) and source is not sources[2])
            assert all(np.isfinite(number) for number in found.values())


def test_target_network_follows_model_with_delay(batches: list[ExperienceBatch]) -> None:
    with DistributedTrainer(batches, network(), config=replace(SMALL, target_every=4)) as trainer:
        start = {name: part.clone() for name, part in trainer.model.state_dict().items()}
        trainer.train(3)
        assert equal(trainer.target.state_dict(), start)
        assert not equal(trainer.model.state_dict(), start)
        trainer.train(1)
        assert equal(trainer.target.state_dict(), trainer.model.state_dict())


def test_surprising_experiences_are_drawn_more_often(batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    rows = whole.rows.copy()
    rows["reward"] = 0
    rows["reward"][7] = 50
    config = replace(SMALL, gamma=0.0, learning_rate=1e-6, alpha=1.0, batch_size=100)
    with DistributedTrainer([replace(whole, rows=rows)], network(), config=config) as trainer:
        trainer.train(20)
        drawn = trainer.buffer.sample(1000)
    assert (drawn.batch.reward == 50).mean() > 0.3
    assert drawn.weights[drawn.batch.reward == 50].max() < drawn.weights[drawn.batch.reward == 0].min()


def test_reader_waits_for_learner_on_request(batches: list[ExperienceBatch]) -> None:
    seen: list[int] = []

    def source() -> Iterator[ExperienceBatch]:
        for batch in batches * 10:
            seen.append(len(batch))
            yield batch

    total = sum(map(len, batches)) * 10
    with DistributedTrainer(source(), network(), config=replace(SMALL, replay_ratio=1.0)) as trainer:
        for _ in range(5):
            trainer.train(2)
            assert sum(seen) - 2 * 37 < SMALL.min_size + trainer.step * SMALL.batch_size + 37
        assert sum(seen) < total
    with DistributedTrainer(source(), network(), config=replace(SMALL, min_size=2000)) as trainer:
        trainer.train(1)  # without it, nothing waits


def test_paced_sink_passes_all_batches_on(batches: list[ExperienceBatch]) -> None:
    memory = Memory()
    sink = PacedSink(memory, 2.0, ahead=1)
    sink.write(batches[0])
    thread = threading.Thread(target=sink.write, args=(batches[1],))
    thread.start()
    for _ in range(2):
        sink.count_draws(36)
        assert len(memory) == 1
    sink.count_draws(1)
    thread.join(PATIENCE)
    assert len(memory) == 2
    sink.release()
    sink.write(batches[2])
    sink.flush()
    sink.close()
    assert (len(memory), memory.flushed, memory.closed) == (3, 1, 1)


# --- Checkpoints ------------------------------------------------------------------------------------------------------


def test_checkpoint_has_whole_training_state(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trainer.pt"
    with DistributedTrainer(batches, network(), config=SMALL, checkpoint=path) as trainer:
        trainer.train(7)
        trainer.save()
        model, target = ({n: p.clone() for n, p in net.state_dict().items()} for net in (trainer.model, trainer.target))
        optimizer = trainer.optimizer.state_dict()
        random = torch.get_rng_state()
        torch.rand(3)
        with DistributedTrainer(batches, network(2), config=SMALL, checkpoint=path) as again:
            assert again.step == 7
            assert equal(again.model.state_dict(), model)
            assert equal(again.target.state_dict(), target)
            assert not equal(model, target)
            assert torch.equal(torch.get_rng_state(), random)
            found = again.optimizer.state_dict()
            assert found["param_groups"] == optimizer["param_groups"]
            assert all(equal(found["state"][k], optimizer["state"][k]) for k in optimizer["state"])
            assert again.train(1)["step"] == 8
        trainer.train(1)
        trainer.save()
        trainer.save()
    assert [file.name for file in path.parent.iterdir()] == ["trainer.pt"]


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_damaged_or_foreign_checkpoints_are_refused(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    path, sprung = tmp_path / "trainer.pt", tmp_path / "sprung"
    assert load_checkpoint(path) is None
    with DistributedTrainer(batches, network(), config=SMALL, checkpoint=path) as trainer:
        trainer.train(1)
        trainer.save()
    data = path.read_bytes()
    for content in (b"", b"nothing of the kind", data[: len(data) // 2], data[:-1]):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="path: expected a checkpoint, got"):
            DistributedTrainer(batches, network(), config=SMALL, checkpoint=path)
    torch.save({"format": 1, "model": Trap(sprung)}, path)
    with pytest.raises(StorageError, match="path: expected a checkpoint, got"):
        DistributedTrainer(batches, network(), config=SMALL, checkpoint=path)
    assert not sprung.exists()
    path.write_bytes(data)
    with pytest.raises(StorageError, match="checkpoint: expected one of this model, got"):
        DistributedTrainer(batches, QNetwork(SHAPE, channels=9), config=SMALL, checkpoint=path)
    content = load_checkpoint(path)
    assert content is not None
    save_checkpoint(path, content | {"format": 2})
    with pytest.raises(StorageError, match=r"checkpoint: expected one of this model, got .*expected format 1, got 2"):
        DistributedTrainer(batches, network(), config=SMALL, checkpoint=path)


TRAINER = """
import json, sys
import torch
from generals_env.recorders.training.q_network import QNetwork
from generals_env.recorders.training.trainer import DistributedTrainer
from generals_env.recorders.training.config import TrainerConfig
address, path = sys.argv[1:]
torch.manual_seed(1)
config = TrainerConfig(capacity=600, min_size=200, batch_size=8, n_step=1)
with DistributedTrainer(address, QNetwork((9, 6, 6), 4, 0), config=config, checkpoint=path) as trainer:
    first = trainer.step
    trainer.train(1)
    numbers = trainer.buffer.snapshot().sequence.tolist()
    print(json.dumps([first, len(numbers)]), flush=True)
    while True:
        trainer.train(2)
        trainer.save()
        print(json.dumps([trainer.step, len(trainer.buffer)]), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_killed_trainer_and_killed_server_continue(tmp_path: Path) -> None:
    """Three trainers after one another, each killed; the server of the second one dies under it."""
    log: dict[str, Any] = {"folder": str(tmp_path / "log"), "durability": "normal"}
    path = tmp_path / "trainer.pt"
    server = ServerProcess(log=log)
    server.play(30, num_envs=16, height=6, width=6)
    steps = 0
    for life in range(3):
        command = [sys.executable, "-W", "error", "-c", TRAINER, server.address, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trainer:
            assert trainer.stdout is not None
            begun, held = json.loads(trainer.stdout.readline())
            assert begun >= steps - 2  # the step in the last line had been saved before
            assert held >= 200
            for _ in range(3):
                steps, held = json.loads(trainer.stdout.readline())
            if life == 1:
                server.kill()
                server = ServerProcess(log=log, address=server.address)
                server.play(20, num_envs=16, height=6, width=6)
                for _ in range(3):
                    steps, held = json.loads(trainer.stdout.readline())
            os.kill(trainer.pid, signal.SIGKILL)
        content = load_checkpoint(path)
        assert content is not None
        assert content["step"] >= steps
        steps = content["step"]
        assert content["stream_id"]
        assert 0 <= content["from_sequence"] <= server.span()[1] - held
    server.kill()


def test_resumed_trainer_has_each_experience_once(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    total = sum(map(len, batches))
    path = tmp_path / "trainer.pt"
    config = replace(SMALL, capacity=150)
    with ServerProcess(log={"folder": str(tmp_path / "log")}) as server:
        for batch in batches[:5]:
            server.write(batch)
        with DistributedTrainer(server.address, network(), config=config, checkpoint=path) as trainer:
            while trainer.train(1)["received"] < sum(map(len, batches[:5])):
                pass
            trainer.save()
        for batch in batches[5:]:
            server.write(batch)
        config = replace(config, capacity=2000)
        with DistributedTrainer(server.address, network(), config=config, checkpoint=path) as again:
            expected = 150 + total - sum(map(len, batches[:5]))
            while again.train(1)["received"] < expected:
                pass
            held = keys(again.buffer.snapshot())
            assert held == keys(ExperienceBatch.concat(batches))[-expected:]
            assert again.train(1)["missed"] == 0


def test_server_may_be_away_for_a_while(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    log = {"folder": str(tmp_path)}
    with ServerProcess(log=log) as server:
        for batch in batches[:4]:
            server.write(batch)
        consumer = ExperienceConsumer(server.address, retry=Retry(tries=200, first_wait=0.05, max_wait=0.1))
        with DistributedTrainer(consumer, network(), config=SMALL) as trainer:
            trainer.train(1)
            server.kill()
            trainer.train(3)  # it has enough to continue
            with ServerProcess(log=log, address=server.address) as back:
                for batch in batches[4:]:
                    back.write(batch)
                wait_until(lambda: trainer.train(1)["received"] >= sum(map(len, batches)))
                found = trainer.train(1)
                assert sorted(keys(trainer.buffer.snapshot())) == sorted(keys(ExperienceBatch.concat(batches)))
            assert (found["missed"], found["restarts"]) == (0, 0)
            assert found["reconnects"] > 0


# --- Errors -----------------------------------------------------------------------------------------------------------


def failing(batches: list[ExperienceBatch]) -> Iterator[ExperienceBatch]:
    yield from batches
    raise StorageError("file: expected one that is whole, got half of it")


def test_reader_errors_are_raised_by_train(batches: list[ExperienceBatch]) -> None:
    trainer = DistributedTrainer(failing(batches), network(), config=SMALL)
    with pytest.raises(StorageError, match="file: expected one that is whole"):
        trainer.train(10**6)
    with pytest.raises(StorageError, match="file: expected one that is whole"):
        trainer.close()
    short = DistributedTrainer(batches[:1], network(), config=SMALL)
    with pytest.raises(StateError, match=f"source: expected 100 experiences, got the end after {len(batches[0])}"):
        short.train(1)
    unreachable = ExperienceConsumer("127.0.0.1:1", retry=Retry(tries=2, first_wait=0.01))
    lonely = DistributedTrainer(unreachable, network(), config=SMALL)
    with pytest.raises(StorageError, match="expected a stream of experience, got UNAVAILABLE"):
        lonely.train(1)


def test_non_finite_loss_is_reported_before_update(batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    rows = whole.rows.copy()
    rows["reward"] = np.inf
    with DistributedTrainer([replace(whole, rows=rows)], network(), config=SMALL) as trainer:
        start = {name: part.clone() for name, part in trainer.model.state_dict().items()}
        with pytest.raises(StateError, match="loss: expected a number, got inf in step 0"):
            trainer.train(1)
        assert equal(trainer.model.state_dict(), start)


def test_bad_arguments_are_refused(batches: list[ExperienceBatch]) -> None:
    for name, value in (
        ("capacity", 0),
        ("min_size", 100_001),
        ("batch_size", 1.5),
        ("n_step", 0),
        ("beta_steps", 0),
        ("target_every", True),
        ("gamma", 1.1),
        ("beta", -0.1),
        ("learning_rate", 0),
        ("max_gradient", float("inf")),
        ("replay_ratio", 0),
        ("augment", 1),
        ("seed", -1),
    ):
        with pytest.raises(ConfigError, match=f"{name}: expected"):
            TrainerConfig(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="alpha: expected"):
        DistributedTrainer(batches, network(), config=TrainerConfig(alpha=-1))
    with pytest.raises(ConfigError, match="source: expected an address, a consumer or batches, got int"):
        DistributedTrainer(5, network())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="model: expected a torch module, got str"):
        DistributedTrainer(batches, "network")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="state_shape: expected"):
        QNetwork((9, 8))
    trainer = DistributedTrainer(batches, network(), config=SMALL)
    with pytest.raises(ConfigError, match="steps: expected"):
        trainer.train(0)
    with pytest.raises(StateError, match="save: expected a trainer with a checkpoint"):
        trainer.save()
    trainer.close()
    with pytest.raises(StateError, match="train: expected an open trainer"):
        trainer.train(1)
