"""Implements what the vector environments for all players and for one player share: seeds, resets, steps and autoreset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from generals_env.arguments import check_flag, positive
from generals_env.branching.vector_branches import Branches
from generals_env.concurrency.guard import Guard
from generals_env.concurrency.interrupts import raise_pending
from generals_env.concurrency.thread_pool import available_cores
from generals_env.config import RENDER_FPS, RENDER_MODES, GameConfig
from generals_env.engine.boards import Boards, copy_boards
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.turn_outcome import Outcome
from generals_env.env_spec import JsonSpec
from generals_env.errors import ConfigError, StateError
from generals_env.observations.dtypes import check_dtype
from generals_env.observations.learner_views import LearnerViews
from generals_env.pickling import CopiedWhole
from generals_env.rendering.shows_games import ShowsGames
from generals_env.seeding import seed_states

__all__ = ["Array", "Observations", "TurnListener", "VectorBase"]

Array = npt.NDArray[Any]
Observations = dict[str, Array]


class TurnListener(Protocol):
    """Protocol of objects that receive each turn of many games. The environment overwrites the arrays: copy what you keep."""

    def begin(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Receive the boards of games that have begun: those of ``which``, (B,) bool."""

    def turn(self, boards: Boards, outcome: Outcome, active: npt.NDArray[np.bool_]) -> None:
        """Receive a turn of all games, before ended games are replaced.

        Args:
            boards: The boards after the turn.
            outcome: Actions, rewards and ends of the turn.
            active: (B, P) bool, players whose game had not ended before it; all False in games that wait for a reset.
        """

    def stepped(self) -> None:
        """Receive the end of the step: the environment is in its final state, so exceptions raised here do no harm."""


class VectorBase(Branches, LearnerViews, ShowsGames, CopiedWhole, JsonSpec):
    """Base class of vector environments: B games in arrays. Subclasses define which players they show.

    Attributes:
        num_envs: B, the number of games.
        config: The configuration of all games.
        dtype: Dtype of the observations.
        metadata: Gymnasium's metadata, including ``autoreset_mode``.
        closed: Whether ``close`` was called.
        listeners: Objects that receive each turn; copies and pickles have none.
        guard: Entered by all methods that change the games, also those of wrappers and recorders.
        final_boards: In ``SAME_STEP`` mode, the final boards of the games that ended last, in the order of ``_final_obs``.
    """

    final_boards: Boards | None = None

    def __init__(
        self,
        num_envs: int,
        config: GameConfig,
        copy: bool = True,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        threads: int | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        """Allocate the arrays; games begin with ``reset``.

        Raises:
            ConfigError: If the value of an argument is invalid.
        """
        self.num_envs = positive("num_envs", num_envs)
        threads = available_cores() if threads is None else positive("threads", threads)
        self.autoreset_mode = mode_of(autoreset_mode)
        self.config = config
        self.copy = check_flag("copy", copy)
        self.dtype = check_dtype(dtype)
        self.closed = False
        self.render_mode = config.render_mode
        self.metadata: dict[str, Any] = {
            "render_modes": list(RENDER_MODES),
            "render_fps": RENDER_FPS,
            "autoreset_mode": self.autoreset_mode,
        }
        sizes, densities = config.map_parameters()
        self.batch = Batch(
            config.empty_boards(self.num_envs),
            config.reward.weights(),
            config.max_turns,
            sizes,
            densities,
            template=config.template(),
            channels=len(config.channels),
            threads=min(threads, self.num_envs),
            dtype=np.uint16 if self.dtype == np.float16 else self.dtype,  # kernels write the bits of float16
        )
        self.listeners: list[TurnListener] = []
        self.guard = Guard()
        self._started = False
        self._done = np.zeros(self.num_envs, np.bool_)  # games that have ended and wait for a reset

    @property
    def started(self) -> bool:
        """Whether games have begun and the environment is open."""
        return self._started and not self.closed

    @property
    def going(self) -> npt.NDArray[np.bool_]:
        """(B,) bool, games that have begun and not ended."""
        return np.logical_not(self._done) & self._started

    @property
    def _tensors(self) -> Array:
        config = self.config
        tiles_first = self.batch.views.observations.view(self.dtype).reshape(
            self.num_envs, config.players, *config.shape, len(config.channels)
        )
        return tiles_first.transpose(0, 1, 4, 2, 3)

    # --- Defined by subclasses ----------------------------------------------------------------------------------------

    def _view(self, array: Array) -> Array:
        """Return the view of an array (B, P, ...) that this environment returns."""
        return array

    def _take(self, actions: Any) -> None:
        """Validate actions and write them to ``batch.outcome.actions``."""
        raise NotImplementedError

    def _ended(self) -> npt.NDArray[np.bool_]:
        """Return (B,) bool, games whose episode ended with this turn."""
        raise NotImplementedError

    # --- Playing ------------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin new games.

        Args:
            seed: Game i gets ``seed + i`` and equals the game of a single environment with this seed; or a sequence of one
                seed a game. None continues the current random streams.
            options: ``{"reset_mask": (B,) bool}`` resets only some games; ``{"start": boards}`` begins them with these boards,
                one for each game of the environment or one for all, instead of those of the option ``start``.

        Returns:
            Observations, infos; see ``step``.

        Raises:
            ConfigError: If a seed is not a non-negative integer, the mask or a board is invalid, or no fair map was found.
            StateError: After ``close``, or with a mask before the first reset.
        """
        self._require_open()
        which = np.ones(self.num_envs, np.bool_)
        if options is not None and not isinstance(options, dict):
            raise ConfigError(f"options: expected a dict or None, got {options!r:.200}")
        if options is not None and "reset_mask" in options:
            which = checked_mask(options["reset_mask"], self.num_envs)
            if not self._started:
                raise StateError("reset: expected a reset of all games first, got a reset_mask: call reset() without it")
        start = start_of(self.config, options, self.num_envs)
        states, seeded = seed_states(seed, self.num_envs, fresh=not self._started)
        with self.guard("reset"):
            self.batch.seed(states, which & seeded)
            self._restart(which, start)
            self._started = True
            observations, infos = self._observe(), self._infos(which)
        self._show()
        return observations, infos

    def _restart(self, which: npt.NDArray[np.bool_], start: Boards | None = None) -> None:
        if start is not None:
            self.batch.load(start, np.arange(self.num_envs) % len(start.games), which=which)
        elif not self.batch.reset(which):
            self._fail()
        self._done &= ~which
        for listener in self.listeners:
            listener.begin(self.batch.boards, which)

    def _fail(self) -> NoReturn:
        self._started = False
        raise self.config.no_map()

    def step(self, actions: Any) -> tuple[Observations, Array, Array, Array, dict[str, Any]]:
        """Play one turn of each game.

        With ``copy=False`` all arrays are views that the next call overwrites; do not write to them.

        Args:
            actions: Indices of the action space, int64. An illegal action becomes a pass and is counted.

        Returns:
            Observations (``"observation"`` in ``dtype``, ``"action_mask"`` int8), rewards float32, terminated bool, truncated
            bool, and infos: ``"illegal_action"`` bool and ``"illegal_actions"`` int64 (in this game). The autoreset mode
            says when ended games are replaced. In ``SAME_STEP`` mode the observations are those of the new game, and
            the infos have, as in Gymnasium, ``"final_obs"`` (object array of dicts, None for running games),
            ``"_final_obs"`` (B,) bool, and ``"final_info"``.

        Raises:
            ActionError: If shape, dtype or range are wrong; no turn was played.
            StateError: Before the first reset, after ``close``, or, with autoreset disabled, if an ended game was not reset.
        """
        with self.guard("step"):
            return self._step(actions)

    def _step(self, actions: Any) -> tuple[Observations, Array, Array, Array, dict[str, Any]]:
        self._require_started("step")
        waits = bool(self._done.any())
        stands = self.branched
        if waits and self.autoreset_mode is AutoresetMode.DISABLED and not stands:
            waiting = np.flatnonzero(self._done)
            raise StateError(
                f'step: expected a reset of ended games (options={{"reset_mask": ...}}), got {len(waiting)} of them, '
                f"the first is game {waiting[0]}"
            )
        pending = self._done.copy()
        generators = self.batch.policy_rng[pending] if waits else self.batch.policy_rng[:0]
        self._take(actions)
        outcome = self.batch.outcome
        active = outcome.active
        if waits:
            self.batch.policy_rng[pending] = generators  # a game that waits for its reset draws no actions
        if self.listeners:
            active = active & ~pending[:, None]
        self.batch.step()
        for listener in self.listeners:
            listener.turn(self.batch.boards, outcome, active)
        if waits and not stands:  # NEXT_STEP: this step replaces them and ignores their actions
            for array in (outcome.rewards, outcome.terminated, outcome.truncated, outcome.illegal):
                array[pending] = 0
            self._restart(pending)
        rewards, terminated, truncated = (
            self._out(array) for array in (outcome.rewards, outcome.terminated, outcome.truncated)
        )
        infos: dict[str, Any] = {}
        if outcome.terminated.any() or outcome.truncated.any():
            ended = self._ended() & ~pending
            self._done |= ended
            if stands:
                outcome.active[ended] = False  # also for opponents of a learner whose episode ended
            if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
                self.final_boards = copy_boards(self.batch.boards, np.flatnonzero(ended))
                infos = self._final(ended)
                self._restart(ended)
        infos |= self._infos(np.ones(self.num_envs, np.bool_))
        for listener in self.listeners:
            listener.stepped()
        self._show()
        return self._observe(), rewards, terminated, truncated, infos

    def _out(self, array: Array) -> Array:
        view = self._view(array)
        return view.copy(order="K") if self.copy else view  # in the order of the memory, not of the axes: twice as fast

    def _observe(self) -> Observations:
        return {"observation": self._out(self._tensors), "action_mask": self._out(self.batch.views.masks)}

    def _infos(self, which: npt.NDArray[np.bool_]) -> dict[str, Any]:
        outcome = self.batch.outcome
        infos: dict[str, Any] = {}
        for name, array in (("illegal_action", outcome.illegal), ("illegal_actions", outcome.illegal_count)):
            infos[name], infos["_" + name] = self._out(array), which.copy()
        return infos

    def _final(self, ended: npt.NDArray[np.bool_]) -> dict[str, Any]:
        tensors = self._view(self._tensors)
        masks = self._view(self.batch.views.masks)
        final = np.full(self.num_envs, None, dtype=object)
        for b in np.flatnonzero(ended):
            final[b] = {"observation": tensors[b].copy(), "action_mask": masks[b].copy()}
        info = {name: array.copy() for name, array in self._infos(ended).items()}
        return {"final_obs": final, "_final_obs": ended, "final_info": info, "_final_info": ended.copy()}

    # --- State and rendering ------------------------------------------------------------------------------------------

    def state(self) -> npt.NDArray[np.int32]:
        """Return the full boards as (B, 3, H, W) int32: owner, army, terrain.

        Raises:
            StateError: Before the first reset, or after ``close``.
        """
        self._require_started("state")
        boards = self.batch.boards
        planes = np.stack([boards.owner, boards.army, boards.terrain], axis=1).astype(np.int32)
        return planes.reshape(self.num_envs, 3, *self.config.shape)

    def boards(self) -> Boards:
        """Return a copy of the full state of all games; errors as in ``state``."""
        self._require_started("boards")
        return copy_boards(self.batch.boards)

    def render(self, *games: int) -> tuple[Any, ...]:
        """Return an image or a text of each game, depending on ``render_mode``; ``"human"`` shows the games.

        Args:
            *games: Indices of the games; none for all.

        Raises:
            StateError: Before the first reset, after ``close``, or without a render mode.
        """
        self._require_started("render")
        return self._rendered(games or None)

    def _games_to_show(self) -> tuple[Boards, Sequence[int], GameConfig] | None:
        return (self.batch.boards, range(self.num_envs), self.config) if self.started else None

    def close(self, **kwargs: Any) -> None:
        """Release the threads and close the window; calling it twice is allowed."""
        with self.guard("close"):
            self.closed = True
            self._close_display()
            self.batch.close()

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle everything but the listeners."""
        return {**self.__dict__, "listeners": []}

    def _pause(self) -> None:
        """Handle pending signals between two turns."""
        raise_pending()
        self._require_open()  # a handler may have closed the environment

    def _require_open(self) -> None:
        if self.closed:
            raise StateError("vector environment: expected one that is open, got a call after close(): make a new one")

    def _require_started(self, name: str) -> None:
        self._require_open()
        if not self._started:
            raise StateError(f"{name}: expected a call of reset() before, got none: call reset() first")


def start_of(config: GameConfig, options: dict[str, Any] | None, count: int) -> Boards | None:
    """Return the boards of the reset option ``start``; raise ``ConfigError`` unless there is one, or one for each game."""
    if options is None or options.get("start") is None:
        return None
    start = options["start"]
    if not isinstance(start, Boards) or len(start.games) not in (1, count):
        raise ConfigError(f"start: expected Boards, one or {count} of them, got {start!r:.200}: see start_boards")
    return config.fit_start(start)


def mode_of(mode: AutoresetMode | str) -> AutoresetMode:
    """Return the autoreset mode of a member, a name or a value; raise ``ConfigError`` if it is unknown."""
    for candidate in AutoresetMode:
        if mode in (candidate, candidate.name, candidate.value):
            return candidate
    raise ConfigError(f"autoreset_mode: expected one of {', '.join(AutoresetMode.__members__)}, got {mode!r}")


def checked_mask(mask: Any, count: int) -> npt.NDArray[np.bool_]:
    """Return a reset mask; raise ``ConfigError`` if it is not (count,) bool with at least one True."""
    if not isinstance(mask, np.ndarray) or mask.shape != (count,) or mask.dtype != np.bool_ or not mask.any():
        raise ConfigError(f"reset_mask: expected a bool array of shape ({count},) with at least one True, got {mask!r:.200}")
    return mask
