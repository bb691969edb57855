"""Trains a policy network to choose what people chose: ``Cloner``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from generals_env.arguments import is_number
from generals_env.errors import ConfigError
from generals_env.learning.cloning.accuracy import Accuracy, Ranks, action_ranks
from generals_env.learning.cloning.baselines import MajorityBaseline, expander_ranks, remembering_ranks
from generals_env.learning.cloning.cloning_config import CloningConfig
from generals_env.learning.cloning.held_out import Entries, Split, hold_out
from generals_env.learning.cloning.move_batches import MoveBatch, MoveSampler, moves_in_order
from generals_env.learning.cloning.move_store import MoveStore
from generals_env.learning.rollouts.collector import log_shares
from generals_env.networks.bfloat16 import has_bfloat16
from generals_env.networks.policy_file import save_policy_network
from generals_env.networks.policy_network import PolicyNetwork
from generals_env.version import __version__

try:
    import torch
    from torch import Tensor
    from torch.optim.swa_utils import AveragedModel
except ModuleNotFoundError as error:
    raise ImportError(f'cloner: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["Cloner", "cloning_loss"]

CHUNK = 256  # moves that are measured at once


def cloning_loss(logits: Tensor, legal: Tensor, actions: Tensor, smoothing: float) -> Tensor:
    """Return the cross entropy (n,) of people's actions among the legal ones; finite with smoothing, too.

    Args:
        logits: (n, A).
        legal: (n, A) bool.
        actions: (n,) int64, legal ones.
        smoothing: Share of the target that is spread over the legal actions alone: illegal ones have probability 0, and any
            share for them would make the loss infinite.
    """
    log_probs = log_shares(logits, legal)
    chosen = -log_probs.gather(1, actions[:, None])[:, 0]
    if not smoothing:
        return chosen
    spread = -log_probs.masked_fill(~legal, 0).sum(1) / legal.sum(1)
    return (1 - smoothing) * chosen + smoothing * spread


class Cloner:
    """The learner: moves of people, network and optimizer.

    Attributes:
        config: The options.
        store: The moves.
        split: Which of them are learned from.
        network: The network that learns.
        averaged: Averages its weights; ``agent`` is the network with them, which is measured and saved.
        steps: Steps of the optimizer so far.
        progress: Share of the training that has passed, 0 to 1; the learning rate follows it.
    """

    def __init__(self, store: MoveStore, config: CloningConfig | None = None, network: PolicyNetwork | None = None) -> None:
        """Hold out players and make the network.

        Args:
            store: The moves.
            config: Options; default: all defaults.
            network: A network to go on with; its size takes the place of that in ``config``.

        Raises:
            ConfigError: If no move is left to learn from.
        """
        self.config = config = config or CloningConfig()
        self.store = store
        self.split: Split = hold_out(store, config.hold_out)
        torch.manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        self.device = torch.device(config.device)
        if network is None:
            network = PolicyNetwork(config.layout, config.channels, config.blocks, value_bins=config.value_bins)
        self.network = network.to(self.device)
        self.sampler = MoveSampler(store, self.split.training, self.rng, config.by_game, config.symmetries, self.network.layout)
        self.averaged = AveragedModel(self.network, avg_fn=self._average)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.bfloat16 = has_bfloat16(self.device) if config.bfloat16 is None else config.bfloat16
        self.steps = 0
        self.progress = 0.0

    @property
    def agent(self) -> PolicyNetwork:
        """The network with averaged weights."""
        network: PolicyNetwork = self.averaged.module  # type: ignore[assignment]
        return network

    def _average(self, averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        """Return the next average; in the first steps it forgets faster, as the weights that it began with are random."""
        decay = min(self.config.averaging, (1 + int(count)) / (10 + int(count)))
        return averaged + (1 - decay) * (current - averaged)

    def autocast(self) -> Any:
        """Return the context in which the network computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def step(self) -> dict[str, float]:
        """Draw moves, learn from them, and return figures for the log."""
        config = self.config
        fall = 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))
        rate = config.learning_rate * (config.final_rate + (1 - config.final_rate) * fall)
        rate *= min(1.0, (self.steps + 1) / (config.warm_up + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        self.optimizer.zero_grad()
        sums: dict[str, float] = {}
        for _ in range(config.parts):
            batch = self.sampler.draw(config.batch_size // config.parts, self.device)
            loss, found = self._losses(batch)
            (loss / config.parts).backward()  # type: ignore[no-untyped-call]
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value / config.parts
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_gradient)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        self.steps += 1
        return sums | {"learning_rate": rate}

    def _losses(self, batch: MoveBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a batch, and its parts for the log."""
        config = self.config
        with self.autocast():
            logits, outputs = self.network(batch.observations)
        losses = cloning_loss(logits, batch.legal, batch.actions, config.smoothing)
        weights = torch.where(batch.passes, config.pass_weight, 1.0)
        policy_loss = (weights * losses).sum() / weights.sum().clamp_min(1e-6)
        known = ~batch.outcomes.isnan()
        targets = batch.outcomes.nan_to_num(0.0) * config.gamma**batch.left
        value_losses = self.network.value_loss(outputs, targets) * known
        value_loss = value_losses.sum() / known.sum().clamp_min(1)
        hits = action_ranks(logits.detach().float(), batch.legal, batch.actions)
        figures = {
            "policy_loss": policy_loss.item(),
            "value_loss": value_loss.item(),
            "top1": float((hits.every < 1).mean()),
        }
        return policy_loss + config.value_weight * value_loss, figures

    def train(
        self,
        minutes: float,
        report: Callable[[dict[str, float]], None] | None = None,
        steps: int | None = None,
        processor_minutes: float | None = None,
    ) -> None:
        """Learn until the first limit is reached; the learning rate falls with the nearest one.

        Args:
            minutes: Time.
            report: Called after each step with its figures.
            steps: Maximum number of steps.
            processor_minutes: Maximum time of all threads of the process: on a busy machine it tells how much was computed.

        Raises:
            ConfigError: If a limit is no positive number.
        """
        for name, limit in (("minutes", minutes), ("steps", steps), ("processor_minutes", processor_minutes)):
            if limit is not None and (not is_number(limit) or not 0 < limit < 1e12):
                raise ConfigError(f"{name}: expected a positive number, got {limit!r:.80}")
        began, first, computed = time.monotonic(), self.steps, time.process_time()
        while True:
            passed = (time.monotonic() - began) / 60
            used = (time.process_time() - computed) / 60
            shares = (passed / minutes, (self.steps - first) / (steps or math.inf), used / (processor_minutes or math.inf))
            self.progress = max(shares)
            if self.progress >= 1:
                break
            figures = self.step()
            if report is not None:
                report({"minutes": passed, "processor_minutes": used, "steps": self.steps, **figures})

    def accuracy(self, entries: Entries | None = None) -> Accuracy:
        """Return how often the averaged network agrees with people; default: in the moves of players held out."""
        return Accuracy.of(self._ranks(self.split.held_out if entries is None else entries))

    def _ranks(self, entries: Entries) -> Ranks:
        self.averaged.eval()
        parts = []
        for _, _, batch in moves_in_order(self.store, entries, CHUNK, self.network.layout, self.device):
            with torch.no_grad(), self.autocast():
                logits, _ = self.averaged(batch.observations)
            parts.append(action_ranks(logits.float(), batch.legal, batch.actions))
        return Ranks.joined(parts)

    def baselines(self, names: tuple[str, ...] = ("majority", "expander", "hunter")) -> dict[str, Accuracy]:
        """Return how often baselines agree with people in the moves of players held out, by name.

        The names are ``"majority"``, the most common classes of actions of the training, and built-in policies.
        """
        held_out = self.split.held_out
        found: dict[str, list[Ranks]] = {name: [] for name in names}
        majority = MajorityBaseline()
        if "majority" in names:
            majority.count(self.store, self.split.training)
        for group, _, batch in moves_in_order(self.store, held_out, CHUNK):
            if "majority" in names:
                found["majority"].append(majority.ranks(batch))
            if "expander" in names:
                found["expander"].append(expander_ranks(group, batch, self.config.seed))
        for name in names:
            if name not in ("majority", "expander"):
                pairs = zip(self.store.groups, held_out, strict=True)
                found[name] = [remembering_ranks(name, group, own, self.config.seed) for group, own in pairs if len(own)]
        return {name: Accuracy.of(Ranks.joined(parts)) for name, parts in found.items()}

    def save(self, path: str | Path, **made: Any) -> None:
        """Save the averaged network with how it was made: a file that plays, is exported, and that PPO begins from.

        Raises:
            StorageError: If the file cannot be written.
        """
        how = {"by": "behaviour cloning", "version": __version__, "steps": self.steps, "games": len(self.store.games)}
        entries = self.steps * self.config.batch_size
        save_policy_network(path, self.agent, {**how, "config": asdict(self.config), **made}, entries)
