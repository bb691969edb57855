"""Plays the tasks of a rollout by a policy object: a network, or anything that chooses actions for observations and masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.engine.boards import Boards
from generals_env.errors import ConfigError
from generals_env.recorders.distributed.rollout_plan import RolloutPlan
from generals_env.recorders.distributed.task_player import OpenedElsewhere, TaskPlayer, TaskResult
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.recording.base import ExperienceRecorder
from generals_env.vector import GeneralsVector, make_vec

__all__ = ["POLICY", "ActingPolicy", "PolicyPlayer"]

#: Name in ``RolloutPlan.policies`` of the seats that the policy object plays.
POLICY = "policy"


@runtime_checkable
class ActingPolicy(Protocol):
    """Chooses actions, as ``DevicePolicy`` and ``SharedPolicy`` do.

    It may also have ``act_on_boards(packed)``, which then gets ``GeneralsVector.packed()`` of the seats of the policy and is
    called in place of ``act``; ``reset(seed)``, which is called with the seed of each task; ``set_weights(weights)``; and
    ``version``, which is recorded.
    """

    def act(self, observations: npt.NDArray[Any], masks: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return actions (B, P) for observations (B, P, C, H, W) and masks (B, P, A); P are the seats of the policy."""


class PolicyPlayer(TaskPlayer):
    """Plays tasks in which a policy object has the seats that the plan calls ``"policy"``; built-in ones have the others.

    A task depends on the plan, its number and the weights, if the policy draws its random numbers from the stream that
    ``reset(seed)`` begins.
    """

    def __init__(self, plan: RolloutPlan, policy: ActingPolicy) -> None:
        """Play tasks of ``plan`` by ``policy``.

        Raises:
            ConfigError: If the plan has no seat for the policy, or the policy no method ``act``.
        """
        super().__init__(plan)
        if POLICY not in plan.policies:
            raise ConfigError(
                f"policies: expected {POLICY!r} for the seats of the policy object, got {plan.policies}: name one"
            )
        if not isinstance(policy, ActingPolicy):
            raise ConfigError(f"policy: expected an object with act(observations, masks), got {policy!r:.200}")
        self.policy = policy
        self._version: int | None = None  # of ``set_weights``
        self._seats = [seat for seat, name in enumerate(plan.policies) if name == POLICY]

    def set_weights(self, weights: Any, version: int) -> None:
        """Let the policy play with other weights from the next task on.

        Raises:
            ConfigError: If the policy takes none.
        """
        if not callable(take := getattr(self.policy, "set_weights", None)):
            raise ConfigError(f"weights: expected a policy with set_weights(weights), got {type(self.policy).__name__}")
        take(weights)
        self._version = version

    def play(self, number: int, sink: Sink) -> TaskResult:
        """Play a task; see ``TaskPlayer.play``.

        Raises:
            ConfigError: If the number, the options of the environment or the policies are invalid.
            Exception: What the policy or the sink raises, unchanged.
        """
        plan, number = self.plan, check_integer("number", number, 0, 2**31)
        seed = plan.seed_of(number)
        env = make_vec(plan.num_envs, **plan.env)
        version = getattr(self.policy, "version", 0) if self._version is None else self._version
        versions = [version if name == POLICY else None for name in plan.policies]
        with ExperienceRecorder(
            env, OpenedElsewhere(sink), plan.run_of(number), policies=plan.policies, policy_versions=versions
        ) as recorder:
            views, _ = recorder.reset(seed=seed)
            if callable(reset := getattr(self.policy, "reset", None)):
                reset(seed)
            games, wins = 0, np.zeros(env.config.players, np.int64)
            for _ in range(plan.turns):
                views, _, _, _, infos = recorder.step(self._actions(env, views))
                if env.final_boards is not None and "_final_obs" in infos:
                    games += int(infos["_final_obs"].sum())
                    wins += wins_of(env.final_boards)
            recorder.flush()
            return TaskResult(number, plan.turns * plan.num_envs, games, tuple(wins.tolist()), recorder.experiences)

    def _actions(self, env: GeneralsVector, views: Any) -> npt.NDArray[np.int64]:
        """Return the actions of all seats, (B, P)."""
        seats, policies = self._seats, self.plan.policies
        if len(seats) == len(policies):
            return self._chosen(env, views, slice(None))
        actions = env.act([name if name != POLICY else "random" for name in policies])
        actions[:, seats] = self._chosen(env, views, seats)
        return actions

    def _chosen(self, env: GeneralsVector, views: Any, seats: slice | list[int]) -> npt.NDArray[np.int64]:
        """Return the actions of the policy for some seats, from packed boards if it takes them: they are 27 times smaller."""
        if callable(on_boards := getattr(self.policy, "act_on_boards", None)):
            packed = env.packed()
            few = {name: getattr(packed, name)[:, seats] for name in ("board", "player", "shown")}
            return np.asarray(on_boards(replace(packed, **few)))
        return np.asarray(self.policy.act(views["observation"][:, seats], views["action_mask"][:, seats]))


def wins_of(boards: Boards) -> npt.NDArray[np.int64]:
    """Return how many games each player has won, (P,), from the final boards; team-mates win together."""
    alive, team = boards.players["alive"], boards.players["team"]
    over = np.array([len(set(team[game][alive[game]].tolist())) == 1 for game in range(len(alive))])
    won = (team[:, :, None] == team[:, None, :]) & alive[:, None, :]
    wins: npt.NDArray[np.int64] = (won.any(axis=2) & over[:, None]).sum(axis=0)
    return wins
