"""Shows the progress of a training: as lines of text, or as JSON objects."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generals_env.cli.dataset import console

if TYPE_CHECKING:
    from generals_env.recorders.training.trainer import DistributedTrainer

__all__ = ["TrainingReport"]


class TrainingReport:
    """Writes one line for each event to standard output."""

    def __init__(self, as_json: bool, steps: int | None) -> None:
        """Write JSON objects or text.

        Args:
            as_json: Whether to write JSON.
            steps: Steps to take, None for no limit.
        """
        self._json, self._steps = as_json, steps

    def waiting(self, source: str) -> None:
        """Report that the first experience is awaited."""
        self._write(f"waiting for experience of {source}", event="waiting", source=source)

    def begin(self, trainer: DistributedTrainer, checkpoint: Path) -> None:
        """Report the beginning."""
        verb = "continuing" if trainer.step else "beginning"
        text = f"{verb} at step {trainer.step:,}, with {trainer.config.min_size:,} experiences in the buffer"
        self._write(text, event=verb, step=trainer.step, checkpoint=str(checkpoint))

    def show(self, metrics: dict[str, float], taken: int) -> None:
        """Report metrics of ``DistributedTrainer.train``, and how many steps of this run were taken."""
        share = f" ({taken / self._steps:.0%})" if self._steps else ""
        text = (
            f"step {metrics['step']:,}{share}: loss {metrics['loss']:.4f}, value {metrics['value']:.3f}, "
            f"{metrics['steps_per_second']:.1f} steps/s, {metrics['received']:,} received, {metrics['buffer']:,} in the buffer"
        )
        if metrics.get("missed"):
            text += f", {metrics['missed']:,} missed"
        self._write(text, event="step", **metrics)

    def saved(self, step: int, checkpoint: Path) -> None:
        """Report that the checkpoint was saved at the end."""
        self._write(f"saved step {step:,} in {checkpoint}", event="saved", step=step, checkpoint=str(checkpoint))

    def _write(self, text: str, **fields: Any) -> None:
        if self._json:
            sys.stdout.write(json.dumps(fields) + "\n")
            sys.stdout.flush()
        else:
            console.print(text, markup=False, highlight=False, soft_wrap=True)
