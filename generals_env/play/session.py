"""Plays games of a person against agents, turn by turn; ``clock`` decides when the turns are."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from generals_env.config import GameConfig
from generals_env.engine.boards import TORUS, Boards, copy_boards
from generals_env.engine.simulation.single_game import AFTER
from generals_env.errors import ConfigError, StateError
from generals_env.game import Game
from generals_env.play.agents import make_agent, shown_name
from generals_env.play.move_queue import MoveQueue, move_index
from generals_env.play.sight import build_prices, scores_of, seen_board, whole_board
from generals_env.play.situation import Situation
from generals_env.play.thinking import Thinker
from generals_env.replay.recorded_game import SURRENDERED, RecordedGame, no_events

__all__ = ["Session", "SessionOptions"]

#: Seconds after which an agent that does not answer ends the game.
HANGING = 30.0

#: The same for the first answer, before which an agent may load and compile.
FIRST_ANSWER = 300.0

#: Turns of a game without a limit by its rules.
MAX_TURNS = 5000

#: States of a session.
PREPARING, READY, PLAYING, OVER = "preparing", "ready", "playing", "over"


@dataclass(frozen=True)
class SessionOptions:
    """What is played.

    Attributes:
        opponents: Names of the agents, see ``agents.make_agent``: one for all other seats, or one for each.
        seat: Seat of the person.
        speed: Turns a second.
        seed: Seed of the first map; None for a random one.
        name: Name of the person.
        game: Options of ``GameConfig``.
    """

    opponents: tuple[str, ...] = ("expander",)
    seat: int = 0
    speed: float = 2.0
    seed: int | None = None
    name: str = "You"
    game: dict[str, Any] = field(default_factory=dict)

    def config(self) -> GameConfig:
        """Return the configuration of the games.

        Raises:
            ConfigError: If an option is invalid.
        """
        options = {"max_turns": MAX_TURNS, "observation": "full", **self.game}
        if options.get("rules") == "competition":
            options = {**{key: value for key, value in options.items() if key != "max_turns"}, **self.game}
        config = GameConfig.from_options(**options)
        if not 0 <= self.seat < config.players:
            raise ConfigError(f"seat: expected an index from 0 to {config.players - 1}, got {self.seat}")
        if not 0.1 <= self.speed <= 50:
            raise ConfigError(f"speed: expected 0.1 to 50 turns a second, got {self.speed}")
        if len(self.opponents) not in (1, config.players - 1):
            raise ConfigError(
                f"opponent: expected one for all {config.players - 1} other players or one for each, got {len(self.opponents)}"
            )
        return config


class Session:
    """Games of one person: the board, his queue, the agents, and the record of the game.

    ``prepare`` is the only method that takes long. One thread at a time may call the methods.

    Attributes:
        options: What is played.
        state: ``"preparing"``, ``"ready"``, ``"playing"`` or ``"over"``.
        failure: Why the game ended without a result, "" if it did not.
    """

    def __init__(self, options: SessionOptions) -> None:
        """Make the agents; ``prepare`` begins a game.

        Raises:
            ConfigError: If an option is invalid, or there is no such opponent.
            StorageError: If the file of an opponent cannot be loaded.
        """
        self.options = options
        self.state = PREPARING
        self.failure = ""
        self._config = options.config()
        self._game = Game(self._config)
        names = options.opponents * (self._config.players - 1 if len(options.opponents) == 1 else 1)
        self._thinkers: list[Thinker] = []
        for name in names:
            self._thinkers.append(Thinker(shown_name(name), make_agent(name, self._config.version)))
        self._reset_records()

    def _reset_records(self) -> None:
        self.queue = MoveQueue()
        self.failure = ""
        self._boards: list[Boards] = []
        self._actions: list[Any] = []
        self._events: list[tuple[int, int, int]] = []
        self._id = ""

    # --- The course of a game ---------------------------------------------------------------------------------

    @property
    def seats(self) -> dict[int, Thinker]:
        """The agents by seat."""
        others = [player for player in range(self._config.players) if player != self.options.seat]
        return dict(zip(others, self._thinkers, strict=True))

    @property
    def turn(self) -> int:
        """Turns played."""
        return self._game.turn

    def prepare(self) -> None:
        """Draw a map, compile what is not compiled yet, and let each agent choose once, as the first time takes longest.

        Raises:
            ConfigError: If no fair map was found.
        """
        self._reset_records()
        seed = self.options.seed if self.options.seed is not None else secrets.randbits(32)
        self._id = f"{seed:x}"
        self._game.reset(seed)
        self._game.actions[:] = 8 * self._config.shape[0] * self._config.shape[1]
        self._game.play()  # compiles
        self._game.reset(seed)
        self.view()
        for seat, thinker in self.seats.items():
            thinker.begin(seed + seat)
            thinker.ask(self.situation(seat))
            if not thinker.wait(FIRST_ANSWER):
                self.refuse(f"{thinker.name}: expected an action within {FIRST_ANSWER:.0f} s, got none")
                return
            try:
                thinker.answer()
            except Exception as error:  # whatever an agent raises is shown on the page
                self.refuse(f"{thinker.name}: {type(error).__name__}: {error}")
                return
            thinker.begin(seed + seat)
        self._boards.append(self._game.board())
        self.state = READY

    def start(self) -> None:
        """Start the clock.

        Raises:
            StateError: If there is no game to start.
        """
        if self.state != READY:
            raise StateError(f"start: expected a game that is ready, got one that is {self.state}")
        self.state = PLAYING
        self._ask()

    def play_turn(self) -> None:
        """Play one turn with the person's next legal move, and with the answers of agents that are there by now.

        An agent that still thinks passes; its answer is played in the turn in which it comes, if it is legal then.
        """
        if self.state != PLAYING:
            return
        game, seat = self._game, self.options.seat
        passing = 8 * self._config.shape[0] * self._config.shape[1]
        game.actions[:] = passing
        for player, thinker in self.seats.items():
            if not game.active[player]:
                continue
            try:
                answer = thinker.answer()
            except Exception as error:  # whatever an agent raises is shown on the page
                self.refuse(f"{thinker.name}: {type(error).__name__}: {error}")
                return
            if answer is not None and not 0 <= answer < game.actions_count:
                self.refuse(f"{thinker.name}: expected an action from 0 to {game.actions_count - 1}, got {answer}")
                return
            if answer is None and thinker.waited > HANGING:
                self.refuse(f"{thinker.name}: expected an action within {HANGING:.0f} s, got none")
                return
            game.actions[player] = passing if answer is None else answer
        chosen = self.queue.take(game.masks[seat])
        game.actions[seat] = passing if chosen is None else chosen
        game.play()
        game.publish()
        self._boards.append(game.board())
        self._actions.append(game.actions.copy())
        if not game.active[seat]:
            self._end()
        else:
            self._ask()

    def surrender(self) -> None:
        """Leave the game; its next turn shows the result.

        Raises:
            StateError: If no game is being played.
        """
        if self.state != PLAYING:
            raise StateError(f"surrender: expected a game that is being played, got one that is {self.state}")
        self.queue.clear()
        self._events.append((self.options.seat, self._game.turn, SURRENDERED))
        self._game.surrender(self.options.seat)
        self.play_turn()

    def again(self, changes: dict[str, Any]) -> None:
        """Change options for the next game, which ``prepare`` begins.

        Args:
            changes: ``seat``, ``speed`` and options of the game.

        Raises:
            ConfigError: If an option is invalid; nothing changed.
            StateError: If a game is being prepared or played.
        """
        if self.state not in (READY, OVER):
            raise StateError(f"again: expected a game that is ready or over, got one that is {self.state}: end it before")
        own = {key: value for key, value in changes.items() if key in ("seat", "speed")}
        games = {key: value for key, value in changes.items() if key not in own}
        if games.get("rules", self.options.game.get("rules", "live")) != self.options.game.get("rules", "live"):
            games.setdefault("max_turns", None)
        game = {key: value for key, value in {**self.options.game, **games}.items() if value is not None}
        options = replace(self.options, **own, game=game, seed=None)
        config = options.config()
        if config.version != self._config.version:
            for name in options.opponents:
                make_agent(name, config.version).close()  # refuses agents that these rules do not fit
        if config != self._config:
            self._game = Game(config)
        self.options, self._config = options, config
        self.state = PREPARING

    def close(self) -> None:
        """End the agents."""
        for thinker in self._thinkers:
            thinker.close()

    def _ask(self) -> None:
        for player, thinker in self.seats.items():
            if self._game.active[player]:
                thinker.ask(self.situation(player))

    def situation(self, player: int) -> Situation:
        """Return what the agent of a seat chooses from now."""
        observation = self._game.observation(player)
        return Situation(observation["observation"], observation["action_mask"], self._game.board(), player)

    def _end(self) -> None:
        self.state = OVER
        self.queue.clear()

    def refuse(self, reason: str) -> None:
        """End the game without a result: an agent failed, or no map was found."""
        self.failure = " ".join(reason.split())[:500]
        if not self._boards:
            self._boards.append(self._game.board())
        self._end()

    # --- The queue -------------------------------------------------------------------------------------------------

    def add_move(self, start: int, end: int, half: bool) -> None:
        """Queue a move between two tiles of the board (numbered without padding).

        Raises:
            ConfigError: If they are no neighbours, or the queue is full.
            StateError: If the game is not ready or over.
        """
        self._require_open("move")
        game = self._game.boards.games[AFTER]
        extent = int(game["rows"]), int(game["columns"])
        wraps = bool(int(game["modifiers"]) & TORUS)
        self.queue.extend([move_index(self._padded(start), self._padded(end), half, self._config.shape, extent, wraps)])

    def add_build(self, tile: int) -> None:
        """Queue a castle on a tile of the board.

        Raises:
            ConfigError: If the rules have no castles, the tile is not on the board, or the queue is full.
            StateError: If the game is not ready or over.
        """
        self._require_open("build")
        plane = 8 * self._config.shape[0] * self._config.shape[1]
        if self._game.actions_count == plane + 1:
            raise ConfigError(f"build: expected the rules of the competition, got {self._config.rules!r}")
        self.queue.extend([plane + 1 + self._padded(tile)])

    def _require_open(self, name: str) -> None:
        if self.state not in (READY, PLAYING):
            raise StateError(f"{name}: expected a game that is ready or being played, got one that is {self.state}")

    def _padded(self, tile: int) -> int:
        """Return the tile's number with padding; -1 off the board."""
        game = self._game.boards.games[AFTER]
        columns = int(game["columns"])
        row, column = divmod(tile, columns)
        if row >= int(game["rows"]):
            raise ConfigError(f"tile: expected one below {int(game['rows']) * columns}, got {tile}")
        return row * int(game["width"]) + column

    def _inner(self, tile: int) -> int:
        """Return the tile's number without padding."""
        game = self._game.boards.games[AFTER]
        row, column = divmod(tile, int(game["width"]))
        return row * int(game["columns"]) + column

    def queued(self) -> list[dict[str, Any]]:
        """Return the queue as the page draws it: ``from``, ``to`` and ``half`` of moves, ``from`` and ``build`` of castles."""
        height, width = self._config.shape
        plane = 4 * height * width
        shown: list[dict[str, Any]] = []
        game = self._game.boards.games[AFTER]
        rows, columns = int(game["rows"]), int(game["columns"])
        for action in self.queue:
            if action > 2 * plane:
                shown.append({"from": self._inner(action - 2 * plane - 1), "build": True})
                continue
            half = action >= plane
            tile, direction = divmod(action - plane if half else action, 4)
            row, column = divmod(tile, width)
            down, right = ((-1, 0), (1, 0), (0, -1), (0, 1))[direction]
            target = (row + down) % rows * columns + (column + right) % columns
            shown.append({"from": self._inner(tile), "to": target, "half": half})
        return shown

    # --- What the page and replays show ------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Return a name for each player."""
        seats = self.seats
        return tuple(
            self.options.name if player == self.options.seat else seats[player].name for player in range(self._config.players)
        )

    def facts(self) -> dict[str, Any]:
        """Return what stays during a game."""
        game = self._game.boards.games[AFTER]
        return {
            "type": "game",
            "id": self._id,
            "rows": int(game["rows"]),
            "columns": int(game["columns"]),
            "seat": self.options.seat,
            "names": list(self.names()),
            "teams": self._game.boards.players[AFTER]["team"].tolist(),
            "rules": self._config.rules,
            "speed": self.options.speed,
            "torus": bool(int(game["modifiers"]) & TORUS),
            "max_turns": self._config.max_turns,
            "builds": self._game.actions_count > 8 * self._config.shape[0] * self._config.shape[1] + 1,
        }

    def view(self) -> dict[str, Any]:
        """Return what the seat sees now; the whole board when the game is over."""
        boards, seat = self._game.boards, self.options.seat
        over = self.state == OVER
        return {
            "type": "turn",
            "id": self._id,
            "turn": self.turn,
            "state": self.state,
            **(whole_board(boards, AFTER) if over else seen_board(boards, AFTER, seat)),
            "scores": scores_of(boards, AFTER),
            "prices": None if over else build_prices(boards, AFTER, seat),
            "queue": self.queued(),
            "result": self.result() if over else None,
        }

    def result(self) -> dict[str, Any]:
        """Return how the game ended for the person: ``"won"``, ``"lost"``, ``"draw"``, ``"limit"`` or ``"failed"``."""
        game, seat = self._game, self.options.seat
        left = any(player == seat for player, _, _ in self._events)
        if self.failure:
            kind = "failed"
        elif game.truncated[seat]:
            kind = "limit"
        else:
            winner = game.get_winner()
            teams = game.boards.players[AFTER]["team"]
            alive = game.boards.players[AFTER]["alive"]
            if winner >= 0:
                kind = "won" if teams[winner] == teams[seat] else "lost"
            else:
                kind = "lost" if alive.any() else "draw"
        return {"kind": kind, "surrendered": left, "turns": len(self._actions), "reason": self.failure}

    def recorded(self) -> RecordedGame:
        """Return the game so far.

        Raises:
            StateError: If it is not over: the record shows the whole board.
        """
        if self.state != OVER:
            raise StateError(f"replay: expected a game that is over, got one that is {self.state}: play on, or surrender")
        boards = Boards._make(np.concatenate(arrays) for arrays in zip(*self._boards, strict=True))
        players = self._config.players
        actions = np.array(self._actions, np.int64).reshape(-1, players)
        events = np.array(self._events, np.int32).reshape(-1, 3) if self._events else no_events()
        details = {"source": "generals-env play", "rules": self._config.rules}
        return RecordedGame(copy_boards(boards), actions, self._id, self.names(), details=details, events=events)
