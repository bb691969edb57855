"""Plays one game: boards, observations, rewards and ends. PettingZoo's environments delegate to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.collector import Collector, Transition
from generals_env.concurrency.guard import Guard
from generals_env.config import GameConfig
from generals_env.engine.boards import Boards, copy_boards, put_boards
from generals_env.engine.rules import turn as rules
from generals_env.engine.rules.map_generator import generate_map
from generals_env.engine.simulation.mid_game import draw_index, in_game
from generals_env.engine.simulation.single_game import AFTER, BEFORE, play_turn, view_board
from generals_env.errors import StateError
from generals_env.seeding import seed_state

__all__ = ["Game"]

Observation = dict[str, npt.NDArray[Any]]


class Game:
    """A game of 2 to 16 players: boards, random state, status of the players, and observations of the current turn.

    Attributes:
        config: The configuration.
        boards: Two boards; row 0 is before, row 1 after the last turn.
        active: (P,) bool, players whose game has not ended.
        illegal: (P,) bool, players whose last action was illegal.
        illegal_count: (P,) int64, number of illegal actions in this game.
        rewards: (P,) float32, of the last turn.
        terminated: (P,) bool, players whose game ended with the last turn.
        truncated: (P,) bool, players whose game was truncated after it.
        observations: (P, C, H, W) float32, C = 9 or 21.
        masks: (P, 8*H*W + 1) int8.
        started: Whether a game has begun.
        finished: Equal to ``turn`` unless an exception interrupted ``play``; faster to read.
        guard: Entered by all methods that change the game, also those of wrappers and recorders.
    """

    def __init__(self, config: GameConfig) -> None:
        """Allocate the arrays; a game begins with ``reset``."""
        self.config = config
        players = config.players
        height, width = config.shape
        self.boards = config.empty_boards(2)
        self.actions_count = config.actions
        self.active = np.zeros(players, np.bool_)
        self.actions = np.zeros(players, np.int64)
        self.illegal = np.zeros(players, np.bool_)
        self.illegal_count = np.zeros(players, np.int64)
        self.rewards = np.zeros(players, np.float32)
        self.terminated = np.zeros(players, np.bool_)
        self.truncated = np.zeros(players, np.bool_)
        self.observations = np.zeros((players, len(config.channels), height, width), np.float32)
        self.masks = np.zeros((players, self.actions_count), np.int8)
        self.collectors: list[Collector] = []
        self._set_views()
        self._weights = config.reward.weights()
        self._sizes, self._densities = config.map_parameters()
        self._castles = True if config.rules == "competition" else None
        self._template = config.template()
        self._rng: npt.NDArray[np.uint64] | None = None
        self._continues = False
        self._collecting = False
        self._before = self.active  # before the last turn, as ``_counted``
        self._counted = self.illegal_count
        self.finished = 0
        self.guard = Guard()
        self.started = False

    # --- Playing --------------------------------------------------------------------------------------------------

    @property
    def turn(self) -> int:
        """Number of turns played so far."""
        return int(self.boards.games[AFTER]["turn"])

    @property
    def random_state(self) -> npt.NDArray[np.uint64]:
        """(1,) uint64, a copy of the state from which the next map is drawn, after a reset."""
        if self._rng is None:
            raise StateError("random_state: expected a call of reset() before, got none: call reset() first")
        return self._rng[AFTER:].copy()

    def reset(self, seed: int | None = None, start: Boards | None = None) -> None:
        """Begin a new game; without a seed, with the next map of the same random stream.

        Args:
            seed: The seed.
            start: One board to begin with, of the configuration's shape.

        Raises:
            ConfigError: If the seed is not a non-negative integer, or if no fair map was found.
        """
        with self.guard("reset"):
            self._reset(seed, start)

    def _reset(self, seed: int | None, start: Boards | None) -> None:
        if seed is not None or self._rng is None:
            self._rng = seed_state(seed, boards=2)
        self._end_collection()
        self.started = False
        if start is not None:
            put_boards(self.boards, AFTER, start, 0)
        elif self._template is not None:
            count = len(self._template.games)
            put_boards(self.boards, AFTER, self._template, draw_index(self._rng, AFTER, count) if count > 1 else 0)
        elif not generate_map(self.boards, AFTER, self._rng, self._sizes, self._densities, self._castles):
            raise self.config.no_map()
        self.active[:] = True if self._template is None and start is None else in_game(self.board())[0]
        self.illegal[:] = False
        self.illegal_count[:] = 0
        self.rewards[:] = 0
        self.terminated[:] = False
        self.truncated[:] = False
        self._continues = False
        self.finished = self.turn
        self.started = True
        view_board(self.boards, AFTER, self._flat, self.masks)

    def play(self) -> bool:
        """Play one turn with the indices in ``actions``, which are in range; call ``publish`` next.

        Returns:
            Whether something besides the observations changed: an illegal action, an end or a reward.
        """
        self._before, self._counted = self.active, self.illegal_count
        changed = play_turn(
            *self.boards,
            BEFORE,
            AFTER,
            self.actions,
            self.active,
            self._weights,
            self.config.max_turns,
            self.illegal,
            self.terminated,
            self.truncated,
            self.rewards,
            self._flat,
            self.masks,
            self._castles,
        )
        if changed:
            self._conclude()
        self.finished += 1
        return changed

    def finish(self, before: int) -> None:
        """Complete a ``play`` that an exception interrupted: repeat it if the turn still equals ``before``."""
        if self.turn == before:
            self.play()
        else:
            self._conclude()
            self.finished = self.turn

    def _conclude(self) -> None:
        """Update ``illegal_count`` and ``active`` after a turn; a repeated call changes nothing."""
        self.illegal_count = self._counted + self.illegal
        self.active = self._before & ~(self.terminated | self.truncated)

    def add_collector(self, collector: Collector) -> None:
        """Notify ``collector`` of each turn from now on."""
        self.collectors.append(collector)
        self._continues = False  # it has not received the turn before

    def publish(self) -> None:
        """Notify the collectors of the turn just played; the game is in its final state if one of them raises."""
        continues, self._continues = self._continues, True
        if self.collectors:
            self._collecting = True
            transition = Transition(
                self.boards,
                continues,
                self._before,
                self.actions,
                self.illegal,
                self.rewards,
                self.terminated,
                self.truncated,
            )
            errors = []
            for collector in self.collectors:
                try:
                    collector.on_state_transition(transition)
                except Exception as error:  # the other collectors must receive the turn, too
                    errors.append(error)
            if not self.active.any():
                self._end_collection()
            if errors:
                for other in errors[1:]:
                    errors[0].add_note(f"another collector raised {other!r}")
                raise errors[0]

    def surrender(self, player: int) -> None:
        """Remove ``player`` from the game before the next turn (rule 20).

        Raises:
            StateError: If no game has begun, or the player is not in it any more.
        """
        if not self.started or not self.boards.players[AFTER, player]["alive"] or not self.active[player]:
            raise StateError(
                f"surrender: expected a living player of a running game, got player {player}: "
                "call reset() first, or pass a player who is alive"
            )
        with self.guard("surrender"):
            rules.kill(self.boards, AFTER, player)
            self.boards.players[AFTER, player]["surrendered"] = self.turn
            self._continues = False
            view_board(self.boards, AFTER, self._flat, self.masks)

    def is_over(self) -> bool:
        """Return whether at most one team is left."""
        return self.started and bool(rules.is_over(self.boards, AFTER))

    def get_winner(self) -> int:
        """Return the first living player of the winning team, or -1 for a draw or a running game."""
        return int(rules.winner(self.boards, AFTER)) if self.started else -1

    def _end_collection(self) -> None:
        if self._collecting:
            self._collecting = False
            for collector in self.collectors:
                collector.on_game_end()

    # --- Observations and copies -----------------------------------------------------------------------------------------

    def observation(self, player: int) -> Observation:
        """Return a copy of the observation of ``player``."""
        tensor, mask = self._views[player]
        return {"observation": tensor.copy(), "action_mask": mask.copy()}

    def state(self) -> npt.NDArray[np.int32]:
        """Return the full board as (3, H, W) int32: owner, army, terrain (codes of ``engine.boards``)."""
        boards = self.boards
        planes = [boards.owner[AFTER], boards.army[AFTER], boards.terrain[AFTER]]
        return np.stack(planes).astype(np.int32).reshape(3, *self.config.shape)

    def board(self) -> Boards:
        """Return a copy of the current board (one board)."""
        return copy_boards(self.boards, slice(AFTER, AFTER + 1))

    def clone(self) -> Game:
        """Return an independent copy without collectors."""
        other = Game(self.config)
        other.restore(self)
        return other

    def restore(self, other: Game) -> None:
        """Copy the game of ``other``, including its random state, into this one.

        Raises:
            StateError: If ``other`` has another configuration, or no game has begun there.
        """
        if other._rng is None or not other.started:
            raise StateError("restore: expected a game after reset(), got one before: call its reset() first")
        if other.config != self.config:
            raise StateError(
                f"restore: expected a game of {self.config}, got one of {other.config}: make both with the same options"
            )
        with self.guard("restore"):
            self._end_collection()
            put_boards(self.boards, slice(None), other.boards, slice(None))
            for name in (
                "active",
                "actions",
                "illegal",
                "illegal_count",
                "rewards",
                "terminated",
                "truncated",
                "observations",
                "masks",
            ):
                getattr(self, name)[:] = getattr(other, name)
            self._rng = other._rng.copy()
            self._continues = False
            self.finished = self.turn
            self.started = True

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything but the collectors."""
        state = self.__dict__.copy()
        state["collectors"] = []
        state["_collecting"] = False
        del state["_flat"], state["_views"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the pickled attributes and the views of the arrays."""
        self.__dict__.update(state)
        self._set_views()
        self._continues = False

    def _set_views(self) -> None:
        self._flat = self.observations.reshape(*self.observations.shape[:2], -1)
        self._views = list(zip(self.observations, self.masks, strict=True))
