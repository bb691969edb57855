"""Learning from experience that others collect: on the same machine or anywhere, now or long ago."""

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
from generals_env.recorders.experience import ExperienceBatch
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

#: Version of the checkpoints.
FORMAT = 1

LOOK = 0.02  # seconds between looks at whether there is enough to begin with


@pickled_as("generals_env.recorders")
class DistributedTrainer(NotCopied):
    """Trains a network by double Q-learning on a stream, a dataset, or any batches.

    A thread reads experience into a ``PrioritizedReplayBuffer`` while ``train`` draws from it. With ``checkpoint`` all that
    was learned, and the place in the stream, is in one file, written at once by ``save``; a trainer that finds it there goes on
    from it, whatever ended the one before. Experiences that its buffer held are read again first, as many as the server keeps.

    Example:
        >>> model = QNetwork((9, 8, 8))  # doctest: +SKIP
        >>> with DistributedTrainer("127.0.0.1:50051", model, checkpoint="runs/model.pt") as trainer:
        ...     while trainer.step < 100_000:
        ...         print(trainer.train(1000))
        ...         trainer.save()

    Attributes:
        model: Learns.
        target: Values next states.
        buffer: What is drawn from.
        config: The numbers.
        step: Steps taken, those before a crash that a checkpoint tells of among them.
    """

    _instead = "copy its model, or save a checkpoint and make another DistributedTrainer of it"

    def __init__(
        self,
        source: str | ExperienceConsumer | Iterable[ExperienceBatch],
        model: nn.Module,
        *,
        config: TrainerConfig | Mapping[str, Any] | None = None,
        checkpoint: str | Path | None = None,
        device: Any = "cpu",
    ) -> None:
        """Set the trainer up; reading begins with ``train``.

        Args:
            source: The address of a server, a consumer, which ``close`` closes, or batches, as ``open_dataset`` gives them.
            model: From states (n, C, H, W) float32 to values of all actions (n, 8*H*W + 1) float32; ``QNetwork`` is one.
            config: The numbers: a ``TrainerConfig``, or a mapping of its fields.
            checkpoint: File to go on from, if it is there, and to save to.
            device: As torch names it.

        Raises:
            ConfigError: If an argument is not what it should be.
            ImportError: If ``source`` is an address, without gRPC (``pip install "generals_env[stream]"``).
            StorageError: If the checkpoint is damaged, or of another model.
        """
        if not isinstance(model, nn.Module):
            raise ConfigError(f"model: expected a torch module, got {type(model).__name__}")
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
        numbers = self.config
        seed = None if numbers.seed is None else numbers.seed + self.step  # or the same would be drawn again
        self.buffer = PrioritizedReplayBuffer(numbers.capacity, alpha=numbers.alpha, seed=seed)
        self._paced: PacedSink | None = None
        if numbers.replay_ratio is not None:
            self._paced = PacedSink(self.buffer, numbers.replay_ratio, numbers.min_size)
        self._consumer, self._batches = opened(source)
        self._reading: BackgroundReader | None = None
        self._closed = False
        self._owner = Owner()

    # --- Learning -------------------------------------------------------------------------------------------------

    def train(self, steps: int) -> dict[str, float]:
        """Take steps, as soon as the buffer holds enough; return how they went.

        Returns:
            ``step``; means of ``loss``, ``error`` (absolute, of values), ``value`` and ``gradient`` (its norm before it is cut)
            over the steps; ``steps_per_second``; ``received`` and ``buffer``, in experiences; of a stream, what the consumer
            counts: ``missed``, ``restarts`` and ``reconnects``.

        Raises:
            ConfigError: If ``steps`` is not a positive integer, or batches cannot be in one buffer.
            StateError: After ``close``, in a process that was forked off the one that made the trainer, if the source ends
                before there is enough, or the loss is no number any more.
            StorageError: If the source cannot be read; all that reading raises is raised here.
        """
        check_integer("steps", steps, 1, 2**40)
        self._owner.check("trainer")
        if self._closed:
            raise StateError("train: expected an open trainer, got one that is closed")
        reading = self._reading = self._reading or self._begin()
        while len(self.buffer) < self.config.min_size:
            running = reading.running  # before the look at errors: what ends in between is seen the next time
            reading.check()
            if not running and len(self.buffer) < self.config.min_size:
                raise StateError(f"source: expected {self.config.min_size} experiences, got the end after {len(self.buffer)}")
            time.sleep(LOOK)
        began = time.monotonic()
        sums = torch.zeros(4, device=self.device)
        for _ in range(steps):
            reading.check()
            with deferred():  # Ctrl-C comes between two steps
                sums += self._learn()
        loss, error, value, gradient = (sums / steps).tolist()
        found = {"step": self.step, "loss": loss, "error": error, "value": value, "gradient": gradient}
        found["steps_per_second"] = steps / (time.monotonic() - began)
        found |= {"received": reading.experiences, "buffer": len(self.buffer)}
        if self._consumer is not None:
            found |= {name: getattr(self._consumer, name) for name in ("missed", "restarts", "reconnects")}
        return found

    def _learn(self) -> torch.Tensor:
        """Take one step; return loss, error, value and gradient."""
        numbers = self.config
        beta = numbers.beta + (1 - numbers.beta) * min(self.step / numbers.beta_steps, 1.0)
        drawn = self.buffer.sample(
            numbers.batch_size, beta=beta, n_step=numbers.n_step, gamma=numbers.gamma, augment=numbers.augment
        )
        weights = torch.from_numpy(drawn.weights).to(self.device)
        found = double_dqn_loss(self.model, self.target, drawn.batch.to_torch(self.device), weights, numbers.gamma)
        if not torch.isfinite(found.loss):
            raise StateError(f"loss: expected a number, got {found.loss.item()} in step {self.step}; the model is as it was")
        self.optimizer.zero_grad()
        found.loss.backward()  # type: ignore[no-untyped-call]
        gradient = nn.utils.clip_grad_norm_(self.model.parameters(), numbers.max_gradient)
        self.optimizer.step()
        errors = found.errors.abs()
        self.buffer.update_priorities(drawn.keys, errors.cpu().numpy())
        if self._paced is not None:
            self._paced.drew(numbers.batch_size)
        self.step += 1
        if self.step % numbers.target_every == 0:
            self.target.load_state_dict(self.model.state_dict())
        return torch.stack([found.loss.detach(), errors.mean(), found.values.mean(), gradient.detach()])

    def _begin(self) -> BackgroundReader:
        """Begin to read."""
        sink = self._paced or self.buffer
        if self._consumer is None:
            return BackgroundReader(self._batches, sink, interrupt=self._interrupt)
        from generals_env.recorders.stream.client.position import Position

        consumer = self._consumer
        resume = None if self._resume is None else Position(*self._resume)
        batches = consumer.stream_experiences(batch_size=None, resume=resume)
        return BackgroundReader(batches, sink, position=lambda: consumer.position, interrupt=self._interrupt)

    def _interrupt(self) -> None:
        """Let the thread that reads find an end."""
        if self._paced is not None:
            self._paced.release()
        if self._consumer is not None:
            self._consumer.close()

    # --- Checkpoints ----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint; until it is whole, the one before stays.

        Raises:
            StateError: Without a file to save to, or in a process that was forked off the one that made the trainer.
            StorageError: If it cannot be written.
        """
        self._owner.check("trainer")
        if self._checkpoint is None:
            raise StateError("save: expected a trainer with a checkpoint, got one without")
        place = self._place()
        content = {
            "format": FORMAT,
            "step": self.step,
            "model": self.model.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "stream_id": None if place is None else place[0],
            "from_sequence": None if place is None else place[1],
        }
        save_checkpoint(self._checkpoint, content)

    def _place(self) -> tuple[str, int] | None:
        """Return where in the stream another trainer is to begin, so that its buffer holds what this one does."""
        position = None if self._reading is None else self._reading.position
        if position is None:
            return self._resume
        return position.stream_id, max(position.next_sequence - len(self.buffer), 0)

    def _load(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one. Copies take it first: if one cannot, nothing of the trainer has changed."""
        content = load_checkpoint(path)
        if content is None:
            return
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {content['format']}")  # noqa: TRY301 - told with the others
            step, resume = int(content["step"]), None
            if content["stream_id"] is not None:
                resume = str(content["stream_id"]), int(content["from_sequence"])
            model, target = copy.deepcopy(self.model), copy.deepcopy(self.target)
            self._take(content, model, target, torch.optim.Adam(model.parameters()), torch.Generator())
        except Exception as error:
            # What is in a file of somebody else's can make torch raise nearly anything.
            raise StorageError(
                f"checkpoint: expected one of this model, got {str(path)!r} ({error}); "
                "give the model that it was saved with, or another path to begin anew"
            ) from error
        self._take(content, self.model, self.target, self.optimizer, torch.default_generator)
        self.step, self._resume = step, resume

    @staticmethod
    def _take(
        content: dict[str, Any], model: nn.Module, target: nn.Module, optimizer: torch.optim.Optimizer, random: torch.Generator
    ) -> None:
        """Put what a checkpoint holds into these; raise nearly anything if it does not fit."""
        model.load_state_dict(content["model"])
        target.load_state_dict(content["target"])
        optimizer.load_state_dict(content["optimizer"])
        for weights, state in optimizer.state.items():  # which torch does not look at
            for name, value in state.items():
                if name != "step" and value.shape != weights.shape:
                    raise ValueError(f"{name} of the optimizer: expected shape {(*weights.shape,)}, got {(*value.shape,)}")
        random.set_state(content["random"])

    # --- The end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop reading, and close the consumer; what was learned since the last ``save`` is not saved.

        A forked child leaves that to its parent.

        Raises:
            Exception: What reading has raised, as it was.
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
        """Close it."""
        self.close()


def opened(
    source: str | ExperienceConsumer | Iterable[ExperienceBatch],
) -> tuple[ExperienceConsumer | None, Iterable[ExperienceBatch]]:
    """Return the consumer, or the batches, that a source stands for.

    Raises:
        ConfigError: If it is nothing of the kind.
    """
    if not isinstance(source, str) and isinstance(source, Iterable):
        return None, source
    from generals_env.recorders.stream.client.consumer import ExperienceConsumer

    if isinstance(source, str):
        return ExperienceConsumer(source), ()
    if isinstance(source, ExperienceConsumer):
        return source, ()
    raise ConfigError(f"source: expected an address, a consumer or batches, got {type(source).__name__}")
