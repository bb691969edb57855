"""Records PettingZoo environments: AEC and parallel."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils.wrappers.base import BaseWrapper
from pettingzoo.utils.wrappers.base_parallel import BaseParallelWrapper

from generals_env.concurrency.guard import Guard
from generals_env.engine.packed.recording import ALL_PLAYERS
from generals_env.pettingzoo_base import PettingZooBase
from generals_env.recorders.experience.sink import AnySink
from generals_env.recorders.recording.base import ExperienceRecorder, foreign_environment
from generals_env.recorders.recording.metadata import recording_metadata, seed_of
from generals_env.recorders.recording.single_game_collector import GameCollector
from generals_env.recorders.recording.turn_batcher import TurnBatcher
from generals_env.recorders.recording.wrapper_stack import inspect_wrappers
from generals_env.recorders.sinks.multi import open_sink

__all__ = [
    "AECRecorder",
    "ParallelRecorder",
]


class PettingZooRecorder(ExperienceRecorder):
    """Base of the recorders of PettingZoo's environments."""

    collector: GameCollector

    @classmethod
    def _check(cls, env: Any) -> None:
        if not isinstance(env.unwrapped, PettingZooBase):
            raise foreign_environment(env)

    def _find_guard(self) -> Guard:
        guard: Guard = self.env.unwrapped.game.guard
        return guard

    def _make_batcher(self, sink: AnySink, run_id: str | None, opponents: bool, policies: Any) -> TurnBatcher:
        config = self._config()
        stack = inspect_wrappers(self.env, config)
        metadata = recording_metadata(config, stack, policies)
        return TurnBatcher(open_sink(sink), 1, run_id, ALL_PLAYERS, stack.recipe, metadata)

    def _attach(self, batcher: TurnBatcher) -> None:
        self.collector = GameCollector(batcher)
        self.env.unwrapped.add_collector(self.collector)

    def _detach(self) -> None:
        self.env.unwrapped.remove_collector(self.collector)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin a new game, as the environment does."""
        if self.turn_batcher is not None and not self.turn_batcher.closed:
            self.turn_batcher.check_process()
        with self._guard("reset"):
            result = self.env.reset(seed=seed, options=options)
            self._note(seed=seed_of(seed))
        return result


class AECRecorder(PettingZooRecorder, BaseWrapper[str, Any, Any]):
    """Records an AEC environment.

    Attributes that agents read every turn are passed on here: PettingZoo's wrapper looks them up by
    name, which takes as long as a turn.
    """

    def last(self, observe: bool = True) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return what the environment returns."""
        last: tuple[Any, float, bool, bool, dict[str, Any]] = self.env.last(observe)
        return last

    def step(self, action: Any) -> None:
        """Take the action of ``agent_selection``; the last agent's plays the turn."""
        self._require_room()
        self.env.step(action)

    @property
    def agents(self) -> list[str]:  # type: ignore[override]  # an attribute of environments
        """Agents whose game has not ended."""
        agents: list[str] = self.env.agents
        return agents

    @property
    def agent_selection(self) -> str:  # type: ignore[override]  # likewise
        """The agent that acts next."""
        agent: str = self.env.agent_selection
        return agent

    @property
    def terminations(self) -> dict[str, bool]:  # type: ignore[override]  # likewise
        """Whether the game has terminated, by agent."""
        flags: dict[str, bool] = self.env.terminations
        return flags

    @property
    def truncations(self) -> dict[str, bool]:  # type: ignore[override]  # likewise
        """Whether the game was truncated, by agent."""
        flags: dict[str, bool] = self.env.truncations
        return flags

    @property
    def rewards(self) -> dict[str, float]:  # type: ignore[override]  # likewise
        """Rewards of the last turn, by agent."""
        rewards: dict[str, float] = self.env.rewards
        return rewards


class ParallelRecorder(PettingZooRecorder, BaseParallelWrapper[str, Any, Any]):
    """Records a parallel environment."""

    def step(self, actions: dict[str, Any]) -> Any:
        """Play one turn, as the environment does."""
        self._require_room()
        return self.env.step(actions)
