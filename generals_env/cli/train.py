"""Implements ``generals-env train``: trains a network on a stream, a dataset or a log."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generals_env.cli.config import ConfigFile, SetValues, settings_or_exit
from generals_env.cli.sources import StoredSource, StreamSource, open_training_source
from generals_env.cli.training_report import TrainingReport
from generals_env.errors import ConfigError
from generals_env.recorders.training.config import TrainerConfig

if TYPE_CHECKING:
    from generals_env.recorders.experience import ExperienceBatch
    from generals_env.recorders.training.q_network import QNetwork
    from generals_env.recorders.training.trainer import DistributedTrainer

__all__ = ["train"]

#: Mean number of draws of each experience of a dataset that is larger than the buffer, unless an option says otherwise.
DATASET_RATIO = 4.0

#: Beginnings of the environment variables that set hyperparameters.
SETTINGS = ("GENERALS_ENV_TRAINING__", "GENERALS_ENV_CONFIG")

Number = Annotated[int | None, typer.Option(min=1)]


def train(
    source: Annotated[str, typer.Argument(help="host:port, grpc:// or redis://...?stream=NAME, or a dataset or log.")],
    checkpoint: Annotated[Path, typer.Option("--checkpoint", "--model", help="File to continue from and to save to.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Steps to take; without, until a limit or a signal.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Time after which to stop.")] = None,
    save_every: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 60.0,
    report_every: Annotated[float, typer.Option(min=0, help="Seconds between reports.")] = 5.0,
    device: Annotated[str, typer.Option(help="cpu, cuda, or another device of torch.")] = "cpu",
    channels: Annotated[int | None, typer.Option(min=1, help="Features per tile; those of the checkpoint, or 32.")] = None,
    blocks: Annotated[int | None, typer.Option(min=0, help="Residual blocks; those of the checkpoint, or 2.")] = None,
    config: ConfigFile = None,
    values: SetValues = None,
    capacity: Number = None,
    min_size: Number = None,
    batch_size: Number = None,
    learning_rate: Annotated[float | None, typer.Option(min=0)] = None,
    gamma: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    n_step: Number = None,
    alpha: Annotated[float | None, typer.Option(min=0)] = None,
    beta: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    beta_steps: Number = None,
    target_every: Number = None,
    max_gradient: Annotated[float | None, typer.Option(min=0)] = None,
    augment: Annotated[bool | None, typer.Option(help="Transform experiences by random symmetries of the board.")] = None,
    replay_ratio: Annotated[float | None, typer.Option(min=0, help="Mean number of draws of each experience.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    log_format: Annotated[str, typer.Option(help="text, or json for one object a line.")] = "text",
) -> None:
    """Train a Q-network, and save it with its optimizer: the checkpoint continues a training, and is a policy for games.

    A server's stream and a log are followed; a dataset is read over and over. The token of a server is read from the
    environment variable GENERALS_ENV_TOKEN, the password of Redis from GENERALS_ENV_REDIS_PASSWORD. Ctrl-C and SIGTERM save
    the checkpoint.
    """
    try:
        import torch

        from generals_env.recorders.training.trainer import DistributedTrainer
    except ImportError as error:
        raise typer.BadParameter(f'{error.name or error} is missing: pip install "generals_env[torch]"') from error
    if log_format not in ("text", "json"):
        raise ConfigError(f"log-format: expected text or json, got {log_format!r}")
    given = locals()
    options = {field.name: given[field.name] for field in dataclasses.fields(TrainerConfig)}
    hyperparameters = read_hyperparameters(config, values, {name: one for name, one in options.items() if one is not None})
    check_device(device)
    opened = open_training_source(source, hyperparameters.capacity)
    if isinstance(opened, StoredSource) and opened.repeats and hyperparameters.replay_ratio is None:
        hyperparameters = dataclasses.replace(hyperparameters, replay_ratio=DATASET_RATIO)
    report = TrainingReport(log_format == "json", steps)
    with closing_source(opened):
        report.waiting(source)
        first = opened.first()
        if hyperparameters.seed is not None:
            torch.manual_seed(hyperparameters.seed)
        model = make_network(first, checkpoint, channels, blocks)
        with DistributedTrainer(
            opened.consumer if isinstance(opened, StreamSource) else opened.batches(),
            model,
            config=hyperparameters,
            checkpoint=checkpoint,
            device=device,
        ) as trainer:
            began = trainer.step
            report.begin(trainer, checkpoint)
            try:
                run(trainer, report, steps, minutes, save_every, report_every)
            finally:
                opened.stop()
                if trainer.step > began:
                    trainer.save()
                    report.saved(trainer.step, checkpoint)


def read_hyperparameters(config: Path | None, values: list[str] | None, options: dict[str, Any]) -> TrainerConfig:
    """Return the hyperparameters: options, before those of ``--set``, of the environment, and of the file of settings.

    Settings need libraries of an extra, and are read only if there are any.

    Raises:
        ConfigError: If a value is invalid.
    """
    if config is None and not values and not any(name.startswith(SETTINGS) for name in os.environ):
        return TrainerConfig(**options)
    overrides = {f"training.{name}": value for name, value in options.items()}
    names = {f"training.{name}": f"--{name.replace('_', '-')}" for name in options}
    training = settings_or_exit(config, values, overrides, names, sections=("training",)).training
    from generals_env.operations.settings.options import trainer_config

    return trainer_config(training)


def check_device(device: str) -> None:
    """Raise ``ConfigError`` unless torch can compute on a device."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device: expected one that torch can use, got {device!r} ({reason}): pass cpu") from error


def make_network(like: ExperienceBatch, checkpoint: Path, channels: int | None, blocks: int | None) -> QNetwork:
    """Return a network for states and actions as of a batch, of the checkpoint's size if it exists and none is given."""
    from generals_env.recorders.training.network_policy import load_network
    from generals_env.recorders.training.q_network import QNetwork

    if checkpoint.exists() and channels is None and blocks is None:
        network, _ = load_network(checkpoint)
        inputs = network.features[0].in_channels
        if inputs != like.state_shape[0]:
            raise ConfigError(
                f"checkpoint: expected a network for observations of {like.state_shape[0]} channels, got {inputs} in "
                f"{str(checkpoint)!r}: pass another file, or experience of the same layout and frames"
            )
        if network.builds != like.recipe.builds:
            raise ConfigError(
                f"checkpoint: expected a network with builds={like.recipe.builds}, as the rules of the experience have, got "
                f"{network.builds} in {str(checkpoint)!r}: pass another file, or experience of the same rules"
            )
        return network
    return QNetwork(like.state_shape, channels or 32, 2 if blocks is None else blocks, like.recipe.builds)


def run(
    trainer: DistributedTrainer,
    report: TrainingReport,
    steps: int | None,
    minutes: float | None,
    save_every: float,
    report_every: float,
) -> None:
    """Train until the limits, in parts of a fraction of a second to a few, after which reports and checkpoints are due."""
    began = saved = reported = time.monotonic()
    taken, part = 0, 1
    while (steps is None or taken < steps) and (minutes is None or time.monotonic() - began < 60 * minutes):
        part = part if steps is None else min(part, steps - taken)
        metrics = trainer.train(part)
        taken += part
        part = max(round(metrics["steps_per_second"] * min(report_every or 1.0, 1.0)), 1)
        now = time.monotonic()
        if now - reported >= report_every or taken == steps:
            report.show(metrics, taken)
            reported = now
        if now - saved >= save_every:
            trainer.save()
            saved = time.monotonic()


@contextmanager
def closing_source(source: StreamSource | StoredSource) -> Iterator[None]:
    """Stop a source at the end."""
    try:
        yield
    finally:
        source.stop()
