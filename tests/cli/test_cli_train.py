"""Tests the command ``train``: sources, checkpoints, signals, and one-line errors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import run, runner
from support.helpers import PATIENCE, wait_until
from support.recorded import record_game

from generals_env.cli.app import app
from generals_env.cli.sources import StoredSource
from generals_env.errors import GeneralsError
from generals_env.recorders import (
    DatasetWriter,
    ExperienceConsumer,
    ExperienceLog,
    ExperienceServer,
    Recipe,
    ReplayBuffer,
    TrainerConfig,
)

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "generals_env[torch]"')
trainer = pytest.importorskip("generals_env.recorders.training.trainer")

SMALL = ("--batch-size", 4, "--min-size", 50, "--channels", 4, "--blocks", 0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "set"
    with DatasetWriter(folder, max_file_bytes=20_000) as writer:
        for seed in range(6):
            writer.write(record_game(seed, 40, height=6, width=7))
    return folder


def events(*arguments: object) -> list[dict[str, Any]]:
    """Run ``train`` and return the lines that it has written."""
    result = runner.invoke(app, ["train", *map(str, arguments), "--log-format", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def refused(*arguments: object) -> str:
    """Return the error of ``train``, of one line."""
    result = runner.invoke(app, ["train", *map(str, arguments)])
    if isinstance(result.exception, GeneralsError):
        return str(result.exception)
    assert result.exit_code == 2
    return " ".join(result.output.split())


def test_train_continues_from_its_checkpoint(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "model.pt"
    first = events(dataset, "--checkpoint", file, "--steps", 7, *SMALL)
    assert first[1]["event"] == "beginning"
    assert first[-1] == {"event": "saved", "step": 7, "checkpoint": str(file)}
    second = events(dataset, "--model", file, "--steps", 5, "--batch-size", 4, "--min-size", 50)  # its network, too
    assert second[1] == {"event": "continuing", "step": 7, "checkpoint": str(file)}
    assert second[-1]["step"] == 12
    losses = [event["loss"] for event in second if event["event"] == "step"]
    assert losses
    assert np.isfinite(losses).all()


def test_train_text_names_steps_loss_and_file(dataset: Path, tmp_path: Path) -> None:
    output = run("train", dataset, "--checkpoint", tmp_path / "m.pt", "--steps", 3, *SMALL)
    assert "beginning at step 0, with 50 experiences in the buffer" in output
    assert "step 3 (100%): loss " in output
    assert "480 received, 480 in the buffer" in output
    assert f"saved step 3 in {tmp_path / 'm.pt'}" in output


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[TrainerConfig]:
    """Return a list that gets the configuration of each trainer."""
    seen: list[TrainerConfig] = []
    initialize = trainer.DistributedTrainer.__init__

    def note(self: Any, *arguments: Any, **options: Any) -> None:
        seen.append(options["config"])
        initialize(self, *arguments, **options)

    monkeypatch.setattr(trainer.DistributedTrainer, "__init__", note)
    return seen


def test_dataset_larger_than_buffer_is_read_over_and_over(dataset: Path) -> None:
    source = StoredSource(str(dataset), 479)
    batches = source.batches()
    sizes = [len(batch) for batch in islice(batches, 5)]  # of two files
    assert sizes == [240] * 5
    source.stop()
    assert next(batches, None) is None
    assert sum(map(len, StoredSource(str(dataset), 480).batches())) == 480


def test_only_a_dataset_larger_than_the_buffer_sets_a_replay_ratio(
    dataset: Path, tmp_path: Path, configs: list[TrainerConfig]
) -> None:
    for capacity in (100, 480):
        events(dataset, "--checkpoint", tmp_path / "m.pt", "--steps", 1, "--capacity", capacity, *SMALL)
    assert [config.replay_ratio for config in configs] == [4.0, None]


def test_options_reach_the_trainer(dataset: Path, tmp_path: Path, configs: list[TrainerConfig]) -> None:
    values = {"capacity": 5000, "min_size": 60, "batch_size": 8, "learning_rate": 0.01, "gamma": 0.9, "n_step": 2, "alpha": 0.5}
    values |= {"beta": 0.3, "beta_steps": 7, "target_every": 9, "max_gradient": 2.5, "replay_ratio": 3.0, "seed": 11}
    options = [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", value)]
    events(dataset, "--checkpoint", tmp_path / "m.pt", "--steps", 1, "--augment", *options)
    (config,) = configs
    assert {name: getattr(config, name) for name in values} == values
    assert config.augment


def test_settings_of_file_and_environment_reach_the_trainer(
    dataset: Path, tmp_path: Path, configs: list[TrainerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pydantic")
    file = tmp_path / "experience.yaml"
    file.write_text(
        "experience:\n  games: {policies: [later.pt]}\n"
        "  training:\n    gamma: 0.5\n    alpha: 0.1\n    beta: 0.1\n    min_size: 40\n    batch_size: 3\n"
    )
    monkeypatch.setenv("GENERALS_ENV_TRAINING__ALPHA", "0.2")
    monkeypatch.setenv("GENERALS_ENV_TRAINING__BETA", "0.2")
    monkeypatch.setenv("GENERALS_ENV_TOKEN", "secret")  # sets no key
    options = ("--config", file, "--beta", 0.3, "--batch-size", 4, "--set", "training.n_step=2", "--steps", 1)
    events(dataset, "--checkpoint", tmp_path / "m.pt", *options)
    (config,) = configs
    found = (config.gamma, config.alpha, config.beta, config.min_size, config.batch_size, config.n_step)
    assert found == (0.5, 0.2, 0.3, 40, 4, 2)
    file.write_text("experience:\n  training:\n    gama: 0.5\n")
    text = refused(dataset, "--checkpoint", tmp_path / "m.pt", "--config", file)
    assert "experience.yaml:3: training.gama: unknown key" in text


def test_log_is_followed_while_it_grows(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path / "log", "normal") as log:
        log.write(record_game(1, 20, height=6, width=7))
        command = [sys.executable, "-m", "generals_env.cli", "train", tmp_path / "log", "--checkpoint", tmp_path / "m.pt"]
        options = ["--steps", 3, "--log-format", "json", *SMALL]
        process = subprocess.Popen([*map(str, command + options)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "waiting"
        assert json.loads(process.stdout.readline())["event"] == "beginning"  # and waits for 10 more experiences
        log.write(record_game(2, 20, height=6, width=7))
        lines = process.communicate(timeout=PATIENCE)[0].splitlines()
    assert process.returncode == 0
    assert json.loads(lines[-1])["step"] == 3
    assert json.loads(lines[-2])["received"] == 80


@pytest.mark.checklist("A2")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"])
def test_signal_saves_the_training_of_a_stream(number: int, status: int, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    buffer = ReplayBuffer(1000)
    buffer.write(record_game(1, 60, height=6, width=7))
    with ExperienceServer(buffer, "127.0.0.1:0") as server:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "generals_env.cli", "train", f"grpc://{server.address}", "--report-every", "0"),
                *("--checkpoint", str(tmp_path / "m.pt"), "--log-format", "json", *map(str, SMALL)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["event"] != "step":
            pass
        process.send_signal(number)
        output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert "Traceback" not in error
    saved = json.loads(output.splitlines()[-1])
    assert saved["event"] == "saved"
    assert torch.load(tmp_path / "m.pt", weights_only=True)["step"] == saved["step"] > 0


def test_stream_with_token_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    buffer = ReplayBuffer(1000)
    buffer.write(record_game(1, 60, height=6, width=7))
    monkeypatch.setenv("GENERALS_ENV_TOKEN", "secret")
    with ExperienceServer(buffer, "127.0.0.1:0", token="secret") as server:
        found = events(server.address, "--checkpoint", tmp_path / "m.pt", "--steps", 2, *SMALL)
        assert found[-1]["step"] == 2
        with ExperienceConsumer(server.address, token="secret") as consumer:
            wait_until(lambda: consumer.stats().consumers == 0)


def test_training_errors_are_one_line(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.pt"
    (tmp_path / "empty").mkdir()
    assert "path: expected a folder with files of experience" in refused(tmp_path / "empty", "--checkpoint", file)
    assert "address: expected grpc://host:port" in refused("grpc://", "--checkpoint", file)
    assert "log-format: expected text or json, got 'xml'" in refused(dataset, "--checkpoint", file, "--log-format", "xml")
    assert "device: expected one that torch can use" in refused(dataset, "--checkpoint", file, "--device", "abacus")
    assert "source: expected 1000 experiences, got the end after 480: lower min_size" in refused(
        dataset, "--checkpoint", file, "--min-size", 1000
    )
    assert "min_size: expected an integer from 1 to 10" in refused(dataset, "--checkpoint", file, "--capacity", 10)
    file.write_bytes(b"no checkpoint")
    assert "path: expected a checkpoint" in refused(dataset, "--checkpoint", file)
    assert file.read_bytes() == b"no checkpoint"


def test_checkpoint_of_another_network_is_refused(dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.pt"
    events(dataset, "--checkpoint", file, "--steps", 1, *SMALL)
    before = file.read_bytes()
    text = refused(dataset, "--checkpoint", file, "--channels", 8, "--min-size", 50)
    assert "checkpoint: expected one of this model" in text
    with DatasetWriter(tmp_path / "full") as writer:
        writer.write(record_game(1, 40, height=6, width=7, recipe=Recipe("full")))
    text = refused(tmp_path / "full", "--checkpoint", file, "--min-size", 50)
    assert "checkpoint: expected a network for observations of 21 channels, got 9" in text
    assert file.read_bytes() == before
