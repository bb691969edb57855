"""Trains a policy by proximal policy optimisation: ``PPO``.

Schulman et al., "Proximal Policy Optimization Algorithms", 2017. The learner differs from the paper where the agents of this
game do: only the entries with the largest absolute advantages are learned from, and the policy that plays is the mean of the
weights of recent steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.rollouts.collector import Collector, masked
from generals_env.learning.rollouts.rollout_buffer import Minibatch
from generals_env.learning.self_play.self_play import SelfPlay
from generals_env.learning.training.first_network import first_network
from generals_env.networks.bfloat16 import has_bfloat16
from generals_env.networks.policy_network import PolicyNetwork

try:
    import torch
    from torch import Tensor
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
except ModuleNotFoundError as error:
    raise ImportError(f'ppo: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["PPO"]


class PPO:
    """The learner: games, buffer, network and optimizer.

    Attributes:
        config: The options.
        network: The network that learns.
        averaged: Averages its weights; ``agent`` is the network with them.
        samples: Entries collected so far.
        seconds: Time of the iterations so far.
        progress: Share of the training that has passed, 0 to 1; schedules follow it.
    """

    def __init__(self, config: PPOConfig) -> None:
        """Begin the games and make the network."""
        self.config = config
        torch.manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        device = torch.device(config.device)
        self.network = first_network(config).to(device)
        average = get_ema_multi_avg_fn(config.averaging)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.network, multi_avg_fn=average)
        self.optimizer = torch.optim.Adam(self.network.parameters(), config.learning_rate, eps=1e-5, fused=True)
        self.device = device
        self.samples = self.updates = 0
        self.progress = self.seconds = 0.0
        self.bfloat16 = has_bfloat16(device) if config.bfloat16 is None else config.bfloat16
        self.self_play = SelfPlay(config, self.network, self.rng, self.autocast)
        self.collector = self._collector()

    def _collector(self) -> Collector:
        config = self.config
        return Collector(self.self_play.groups(), config.steps, self.rng, config.symmetries, self.autocast, self.device)

    @property
    def agent(self) -> PolicyNetwork:
        """The network with averaged weights, which is evaluated and saved."""
        network: PolicyNetwork = self.averaged.module  # type: ignore[assignment]
        return network

    def autocast(self) -> Any:
        """Return the context in which the network computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def _fading(self, until: float) -> float:
        """Return a factor that falls from 1 at the beginning to 0 after the share ``until`` of the training."""
        return max(0.0, 1 - self.progress / until) if until else 0.0

    def iterate(self) -> dict[str, float]:
        """Play a rollout and learn from it; return figures for the log."""
        config, buffer = self.config, self.collector.buffer
        began = time.perf_counter()
        shaping = self._fading(config.shaping_until)
        self.network.eval()
        taught = self._fading(config.teacher_until) if config.teacher else 0.0
        self.collector.collect(self.network, shaping, config.teacher if taught else None)
        buffer.compute_advantages(self.collector.last_values(self.network), config.gamma, config.gae_lambda)
        played = time.perf_counter()
        figures = self._learn(taught * config.teacher_weight)
        learned = time.perf_counter()
        self.samples += buffer.steps * buffer.seats
        figures |= {
            "seconds_playing": played - began,
            "seconds_learning": learned - played,
            "shaping": shaping,
            "taught": taught,
        }
        found, changed = self.self_play.after_rollout(self.collector.groups, self.agent, self.samples, self.progress)
        if changed:
            self.collector = self._collector()
        return figures | found

    def _learn(self, taught: float = 0.0) -> dict[str, float]:
        config, buffer = self.config, self.collector.buffer
        rate = config.learning_rate * (1 - (1 - config.final_rate) * self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        entropy = config.entropy + (config.final_entropy - config.entropy) * self.progress
        entries = np.flatnonzero(buffer.valid)
        gains = buffer.advantages.ravel()[entries]
        deviation = float(gains.std()) + 1e-8
        mean = float(gains.mean())
        if config.top_advantages < 1:
            kept = max(int(len(entries) * config.top_advantages), 1)
            entries = entries[np.argpartition(-np.abs(gains), kept - 1)[:kept]]
        sums: dict[str, float] = {}
        self.network.train()
        count = 0
        for _ in range(config.epochs):
            order = self.rng.permutation(entries)
            for low in range(0, len(order), config.batch_size):
                rows = order[low : low + config.batch_size]
                batch = buffer.minibatch(rows, self.device)
                lessons = torch.from_numpy(self.collector.lessons.ravel()[rows]).long().to(self.device) if taught else None
                found = self._update(batch, mean, deviation, entropy, taught, lessons)
                count += 1
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + value
        return {name: value / count for name, value in sums.items()} | {"learning_rate": rate, "advantage_std": deviation}

    def _update(
        self,
        batch: Minibatch,
        mean: float,
        deviation: float,
        entropy_weight: float,
        taught: float = 0.0,
        lessons: Tensor | None = None,
    ) -> dict[str, float]:
        """Learn from a minibatch: the loss of PPO, and ``taught`` times the cross entropy of the teacher's actions (n,)."""
        config = self.config
        with self.autocast():
            logits, outputs = self.network(batch.observations)
        scores = masked(logits, batch.legal)
        log_probs = scores.log_softmax(1)
        chosen = log_probs.gather(1, batch.actions[:, None])[:, 0]
        ratio = (chosen - batch.log_probs).exp()
        gains = (batch.advantages - mean) / deviation
        policy_loss = -torch.minimum(gains * ratio, gains * ratio.clamp(1 - config.clip, 1 + config.clip)).mean()
        entropy = -(scores.softmax(1) * log_probs).sum(1).mean()  # ten times as fast as the exponential of log_probs
        value_loss = self.network.value_loss(outputs, batch.returns).mean()
        loss = policy_loss + config.value_weight * value_loss - entropy_weight * entropy
        if lessons is not None:
            loss = loss + taught * torch.nn.functional.nll_loss(log_probs, lessons)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_gradient)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        self.updates += 1
        with torch.no_grad():
            return {
                "policy_loss": policy_loss.item(),
                "value_loss": value_loss.item(),
                "entropy": entropy.item(),
                "divergence": (batch.log_probs - chosen).mean().item(),
                "clipped": ((ratio - 1).abs() > config.clip).float().mean().item(),
            }

    def train(self, minutes: float, report: Callable[[dict[str, float]], None] | None = None) -> None:
        """Iterate until the learner has trained for some minutes, those of before a checkpoint included.

        Args:
            minutes: Minutes of the whole training; schedules follow them.
            report: Called with the figures of each iteration; its time does not count.
        """
        while self.seconds < 60 * minutes:
            began = time.monotonic()
            self.progress = self.seconds / (60 * minutes)
            figures = self.iterate()
            self.seconds += time.monotonic() - began
            if report is not None:
                report({"minutes": self.seconds / 60, "samples": self.samples, **figures})
