"""Trains a network by double DQN with prioritized replay, on a stream, a dataset or other batches."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from generals_env.arguments import as_config, check_integer
from generals_env.concurrency.interrupts import deferred
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.buffers.prioritized import PrioritizedReplayBuffer
from generals_env.recorders.distributed.redis_streams.source import RedisSource
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.sinks.insert_limiter import InsertLimiter
from generals_env.recorders.stream.client.background_reader import BackgroundReader
from generals_env.recorders.training.config import TrainerConfig
from generals_env.recorders.training.replay_ratio import PacedSink

try:
    import torch
    from torch import nn

    from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint
    from generals_env.recorders.training.double_dqn import double_dqn_loss
except ModuleNotFoundError as error:
    raise ImportError(f'trainer: expected torch, got {error}: pip install "generals_env[torch]"') from None

if TYPE_CHECKING:
    from generals_env.recorders.stream.client.consumer import ExperienceConsumer

__all__ = ["DistributedTrainer"]

#: Version of the format of checkpoints.
FORMAT = 1

POLL = 0.02  # seconds between checks whether the buffer has enough to start

STARVED = 2.0  # seconds without new experiences after which collectors are asked for more


@pickled_as("generals_env.recorders")
class DistributedTrainer(NotCopied):
    """Trains a network by double Q-learning on a stream, a dataset, or any batches.

    A thread reads experience into a ``PrioritizedReplayBuffer`` while ``train`` draws from it. With ``checkpoint``, ``save``
    writes the networks, the optimizer and the position in the stream atomically to one file; a new trainer with this file
    continues from it. It first reads again the experiences that the buffer held, as far as the server still has them; in a
    consumer group of Redis it reads those that were not acknowledged.

    Examples:
        >>> model = QNetwork((9, 8, 8))  # doctest: +SKIP
        >>> with DistributedTrainer("127.0.0.1:50051", model, checkpoint="runs/model.pt") as trainer:
        ...     while trainer.step < 100_000:
        ...         print(trainer.train(1000))
        ...         trainer.save()

    Attributes:
        model: The network that is trained.
        target: The target network.
        buffer: The replay buffer.
        config: The hyperparameters.
        step: Steps taken, including those before the checkpoint that was loaded.
    """

    _instead = "copy its model, or save a checkpoint and make another DistributedTrainer of it"

    def __init__(
        self,
        source: str | ExperienceConsumer | RedisSource | Iterable[ExperienceBatch],
        model: nn.Module,
        *,
        config: TrainerConfig | Mapping[str, Any] | None = None,
        checkpoint: str | Path | None = None,
        device: Any = "cpu",
        limiter: InsertLimiter | None = None,
    ) -> None:
        """Create the trainer; reading begins with ``train``.

        Args:
            source: The address of a server, or of a stream of Redis (``redis://host:port/db?stream=NAME``); a consumer or
                ``RedisSource``, which ``close`` closes; or batches, for example of ``open_dataset``.
            model: Maps states (n, C, H, W) float32 to action values (n, A) float32, as ``QNetwork`` does, A as of the masks.
            config: The hyperparameters: a ``TrainerConfig``, or a mapping of its fields.
            checkpoint: File to continue from, if it exists, and to save to.
            device: A torch device or its name.
            limiter: Keeps collectors in other processes and this trainer in step, see ``InsertLimiter``: ``train`` waits where
                it would draw the same experiences too often. It is not closed with the trainer.

        Raises:
            ConfigError: If an argument is invalid.
            ImportError: If ``source`` is an address and gRPC is not installed (``pip install "generals_env[stream]"``), or
                redis-py for one of Redis (``pip install "generals_env[redis]"``).
            StorageError: If the checkpoint is damaged, or does not fit the model.
        """
        if not isinstance(model, nn.Module):
            raise ConfigError(f"model: expected a torch module, got {type(model).__name__}: pass a QNetwork, for example")
        self.config = as_config("config", TrainerConfig, config, TrainerConfig())
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.target = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.config.learning_rate)
        self.step = 0
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._resume: tuple[str, int] | None = None
        if self._checkpoint is not None:
            self._load(self._checkpoint)
        config = self.config
        seed = None if config.seed is None else config.seed + self.step  # else a resumed trainer would repeat its draws
        self.buffer = PrioritizedReplayBuffer(config.capacity, alpha=config.alpha, seed=seed)
        self._paced: PacedSink | None = None
        if config.replay_ratio is not None:
            self._paced = PacedSink(self.buffer, config.replay_ratio, config.min_size)
        self._consumer, self._batches = open_source(source)
        self._reading: BackgroundReader | None = None
        self._limiter = limiter
        if limiter is not None:
            limiter.limits.check_draw(config.batch_size)
        self._closed = False
        self._owner = Owner()

    # --- Learning -------------------------------------------------------------------------------------------------

    def train(self, steps: int) -> dict[str, float]:
        """Take steps, once the buffer holds ``min_size`` experiences; return metrics.

        Returns:
            ``step``; means over the steps of ``loss``, ``error`` (absolute TD error), ``value`` and ``gradient`` (norm before
            clipping); ``steps_per_second``; ``received`` and ``buffer``, in experiences; and for a stream ``missed``,
            ``restarts`` and ``reconnects`` of the consumer.

        Raises:
            ConfigError: If ``steps`` is not a positive integer, or the source has batches that one buffer cannot hold together.
            StateError: After ``close``, in a process forked off the one that created the trainer, if the source ends before
                ``min_size`` experiences, or the loss is not finite.
            StorageError: If the source cannot be read. Other errors of reading are raised here unchanged.
        """
        check_integer("steps", steps, 1, 2**40)
        self._owner.check("trainer")
        if self._closed:
            raise StateError("train: expected an open trainer, got one that is closed: make another with its checkpoint")
        reading = self._reading = self._reading or self._start_reading()
        self._await_experience(reading)
        began = time.monotonic()
        sums = torch.zeros(4, device=self.device)
        for _ in range(steps):
            reading.check()
            if self._limiter is not None:
                self._await_draw(self._limiter, reading)
            with deferred():  # Ctrl-C takes effect between two steps
                sums += self._learn()
        loss, error, value, gradient = (sums / steps).tolist()
        metrics = {"step": self.step, "loss": loss, "error": error, "value": value, "gradient": gradient}
        metrics["steps_per_second"] = steps / (time.monotonic() - began)
        metrics |= {"received": reading.experiences, "buffer": len(self.buffer)}
        if self._consumer is not None:
            metrics |= {name: getattr(self._consumer, name) for name in ("missed", "restarts", "reconnects")}
        return metrics

    def _await_experience(self, reading: BackgroundReader) -> None:
        """Wait until the buffer has enough; have collectors write what is lacking if nothing comes for some seconds."""
        held, since = len(self.buffer), time.monotonic()
        while len(self.buffer) < self.config.min_size:
            running = reading.running  # asked before the errors: a reader that fails in between is seen in the next round
            reading.check()
            lacking = self.config.min_size - len(self.buffer)
            if not running and lacking > 0:
                raise StateError(
                    f"source: expected {self.config.min_size} experiences, got the end after {len(self.buffer)}: lower min_size"
                )
            if len(self.buffer) != held:
                held, since = len(self.buffer), time.monotonic()
            elif self._limiter is not None and time.monotonic() - since > STARVED:
                self._limiter.want(lacking)
                since = time.monotonic()
            time.sleep(POLL)

    def _await_draw(self, limiter: InsertLimiter, reading: BackgroundReader) -> None:
        """Wait until the limits allow a step."""
        if not limiter.await_sample(self.config.batch_size, stop=lambda: not reading.running):
            reading.check()
            raise StateError(
                f"source: expected more experiences, got the end; {limiter.counts} allow no further draw by {limiter.limits}: "
                "train without a limiter"
            )

    def _learn(self) -> torch.Tensor:
        """Take one step; return its loss, error, value and gradient."""
        config = self.config
        beta = config.beta + (1 - config.beta) * min(self.step / config.beta_steps, 1.0)
        drawn = self.buffer.sample(
            config.batch_size, beta=beta, n_step=config.n_step, gamma=config.gamma, augment=config.augment
        )
        weights = torch.from_numpy(drawn.weights).to(self.device)
        result = double_dqn_loss(self.model, self.target, drawn.batch.to_torch(self.device), weights, config.gamma)
        if not torch.isfinite(result.loss):
            raise StateError(
                f"loss: expected a number, got {result.loss.item()} in step {self.step}; the model is unchanged:"
                " lower learning_rate, or check the rewards"
            )
        self.optimizer.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]
        gradient = nn.utils.clip_grad_norm_(self.model.parameters(), config.max_gradient)
        self.optimizer.step()
        errors = result.errors.abs()
        self.buffer.update_priorities(drawn.keys, errors.cpu().numpy())
        if self._paced is not None:
            self._paced.count_draws(config.batch_size)
        self.step += 1
        if self.step % config.target_every == 0:
            self.target.load_state_dict(self.model.state_dict())
        return torch.stack([result.loss.detach(), errors.mean(), result.values.mean(), gradient.detach()])

    def _start_reading(self) -> BackgroundReader:
        """Start the thread that reads the source into the buffer."""
        sink = self._paced or self.buffer
        if self._consumer is None:
            return BackgroundReader(self._batches, sink, interrupt=self._interrupt)
        from generals_env.recorders.stream.client.position import Position

        consumer = self._consumer
        grouped = isinstance(consumer, RedisSource) and consumer.consumer is not None  # the server has its position
        resume = None if self._resume is None or grouped else Position(*self._resume)
        batches = consumer.stream_experiences(batch_size=None, resume=resume)
        return BackgroundReader(batches, sink, position=lambda: consumer.position, interrupt=self._interrupt)

    def _interrupt(self) -> None:
        """End all waits of the thread that reads."""
        if self._paced is not None:
            self._paced.release()
        if self._consumer is not None:
            self._consumer.close()

    # --- Checkpoints ----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint; the previous one stays until the new one is complete.

        As a consumer of a group of Redis, it then acknowledges the entries that the buffer had before the checkpoint was made.

        Raises:
            StateError: Without a file to save to, or in a process forked off the one that created the trainer.
            StorageError: If it cannot be written, or entries cannot be acknowledged: the next ``save`` does so.
        """
        self._owner.check("trainer")
        if self._checkpoint is None:
            raise StateError("save: expected a trainer with a checkpoint, got one without: pass checkpoint when it is made")
        source = self._consumer if isinstance(self._consumer, RedisSource) else None
        handled = () if source is None else source.handled
        position = self._resume_position()
        content = {
            "format": FORMAT,
            "step": self.step,
            "model": self.model.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "stream_id": None if position is None else position[0],
            "from_sequence": None if position is None else position[1],
        }
        save_checkpoint(self._checkpoint, content)
        if source is not None and handled:
            source.acknowledge(handled)

    def _resume_position(self) -> tuple[str, int] | None:
        """Return the stream id and sequence from which a resumed trainer refills its buffer."""
        position = None if self._reading is None else self._reading.position
        if position is None:
            return self._resume
        return position.stream_id, max(position.next_sequence - len(self.buffer), 0)

    def _load(self, path: Path) -> None:
        """Load a checkpoint, if the file exists; first into copies, so that a failure leaves the trainer unchanged."""
        content = load_checkpoint(path)
        if content is None:
            return
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {content['format']}")  # noqa: TRY301 - reported with the others
            step, resume = int(content["step"]), None
            if content["stream_id"] is not None:
                resume = str(content["stream_id"]), int(content["from_sequence"])
            model, target = copy.deepcopy(self.model), copy.deepcopy(self.target)
            self._load_state(content, model, target, torch.optim.Adam(model.parameters()), torch.Generator())
        except Exception as error:
            # torch raises many types of errors for content that does not fit.
            raise StorageError(
                f"checkpoint: expected one of this model, got {str(path)!r} ({error}); "
                "pass the model that it was saved with, or another path to begin anew"
            ) from error
        self._load_state(content, self.model, self.target, self.optimizer, torch.default_generator)
        self.step, self._resume = step, resume

    @staticmethod
    def _load_state(
        content: dict[str, Any], model: nn.Module, target: nn.Module, optimizer: torch.optim.Optimizer, random: torch.Generator
    ) -> None:
        """Load the content of a checkpoint into these; raise an error of any type if it does not fit."""
        model.load_state_dict(content["model"])
        target.load_state_dict(content["target"])
        optimizer.load_state_dict(content["optimizer"])
        for weights, state in optimizer.state.items():  # torch does not check these shapes
            for name, value in state.items():
                if name != "step" and value.shape != weights.shape:
                    raise ValueError(f"{name} of the optimizer: expected shape {(*weights.shape,)}, got {(*value.shape,)}")
        random.set_state(content["random"])

    # --- Closing --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop reading, and close the consumer; does not save.

        In a forked child this only marks the trainer as closed.

        Raises:
            Exception: The error that reading has raised, unchanged.
        """
        self._closed = True
        if not self._owner.is_here:
            return
        if self._reading is not None:
            self._reading.stop()
        self._interrupt()

    def __enter__(self) -> Self:
        """Return the trainer."""
        return self

    def __exit__(self, *details: object) -> None:
        """Close the trainer."""
        self.close()


def open_source(
    source: str | ExperienceConsumer | RedisSource | Iterable[ExperienceBatch],
) -> tuple[ExperienceConsumer | RedisSource | None, Iterable[ExperienceBatch]]:
    """Return the consumer and no batches, or None and the batches, of a source.

    Raises:
        ConfigError: If it is neither an address, a consumer, nor batches.
        ImportError: If the library of an address is not installed.
    """
    if isinstance(source, str) and source.partition(":")[0].lower() in ("redis", "rediss"):
        return RedisSource(source), ()
    if isinstance(source, RedisSource):
        return source, ()
    if not isinstance(source, str) and isinstance(source, Iterable):
        return None, source
    from generals_env.recorders.stream.client.consumer import ExperienceConsumer

    if isinstance(source, str):
        return ExperienceConsumer(source), ()
    if isinstance(source, ExperienceConsumer):
        return source, ()
    raise ConfigError(
        f"source: expected an address, a consumer or batches, got {type(source).__name__}: pass open_dataset(path), for example"
    )
