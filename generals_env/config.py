"""Defines and validates the options of a game, ``GameConfig``, and the weights of its rewards, ``RewardConfig``."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import (
    as_config,
    check_flag,
    check_integer,
    check_options,
    is_number,
    make_plain,
    plain,
    plain_sequence,
    shown,
)
from generals_env.board_text import parse_board
from generals_env.engine.boards import (
    CITY,
    COMPETITION_VERSION,
    DEFENSELESS,
    GENERAL,
    LEAPFROG,
    LIVE_VERSION,
    MAX_PLAYERS,
    MOUNTAIN,
    PLAIN,
    SLIPPERY,
    TORUS,
    TOUCH_SHIFT,
    Boards,
    empty_boards,
    fit_boards,
)
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.engine.rules.action_space import action_count
from generals_env.engine.rules.map_generator import ATTEMPTS
from generals_env.errors import ConfigError
from generals_env.starts.board_checks import check_boards
from generals_env.starts.board_codec import StartBoards
from generals_env.starts.spawn_distance import SpawnDistance
from generals_env.starts.start_option import check_fit, checked_start, options_of_boards

__all__ = [
    "COMPETITION_DEFAULTS",
    "MODIFIERS",
    "OPTIONS",
    "RENDER_FPS",
    "RENDER_MODES",
    "TOUCH_TURN",
    "GameConfig",
    "RewardConfig",
    "check_integer",
    "is_number",
]

#: Supported modifiers of the live game, by name.
MODIFIERS = {"leapfrog": LEAPFROG, "defenseless": DEFENSELESS, "torus": TORUS, "slippery": SLIPPERY}

RENDER_MODES = ("human", "ansi", "rgb_array")
RENDER_FPS = 10  # turns a second in videos and windows of other libraries

MAX_REWARD = float(np.finfo(np.float32).max)  # rewards are recorded as float32
MIN_SIZE, MAX_SIZE = 4, 64
MAX_TURNS = 2**31 - 1
TOUCH_TURN = 800  # of the competition
MAX_COMPETITION_MOUNTAINS = 0.26  # no map has more than a quarter, before some are opened
MAX_MOUNTAINS = 0.3  # beyond it random land is rarely connected (site percolation: 0.41 on an infinite square lattice)
MAX_CITIES = 0.2
MIN_AREA = 8  # tiles a player: every such board has fair starting positions


@dataclasses.dataclass(frozen=True, slots=True)
class RewardConfig:
    """Weights of the terms of a turn's reward. Make a loss weight negative to punish the loss.

    Winning and losing replace all other terms of that turn; draws and truncation add nothing.

    Attributes:
        territory_gained: For each tile more than in the turn before.
        territory_lost: For each tile fewer than in the turn before.
        army_gained: For each unit of army more than in the turn before.
        army_lost: For each unit of army fewer.
        enemy_general_captured: For each captured general.
        own_general_lost: For losing the general without the end of the game.
        win_game: For each member of the winning team.
        lose_game: For each member of an eliminated team, on the turn of elimination or surrender.
        city_captured: For each captured city.
        city_lost: For each lost city.
        army_advantage: Multiplied by ``(own - enemy) / (own + enemy)`` of the armies on the board, every turn.
    """

    territory_gained: float = 0.0
    territory_lost: float = 0.0
    army_gained: float = 0.0
    army_lost: float = 0.0
    enemy_general_captured: float = 0.0
    own_general_lost: float = 0.0
    win_game: float = 1.0
    lose_game: float = -1.0
    city_captured: float = 0.1
    city_lost: float = -0.1
    army_advantage: float = 0.0

    def __post_init__(self) -> None:
        """Check that every weight is a finite number.

        Raises:
            ConfigError: If a weight is not.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            weight = plain(value)
            if not is_number(weight) or not abs(weight) <= MAX_REWARD:
                raise ConfigError(f"reward {field.name}: expected a finite number, got {shown(value, 80)}")
            object.__setattr__(self, field.name, weight)  # frozen

    @classmethod
    def original(cls) -> RewardConfig:
        """Return the default reward of the original server, the formula of the wire format."""
        return cls(
            territory_gained=0.01,
            territory_lost=-0.01,
            army_gained=0.001,
            army_lost=-0.001,
            enemy_general_captured=0.5,
            own_general_lost=-0.5,
            army_advantage=0.05,
        )

    def weights(self) -> npt.NDArray[np.float64]:
        """Return the weights as (11,) float64, in the order of the fields, which the reward kernel expects."""
        return np.array(dataclasses.astuple(self), np.float64)


@dataclasses.dataclass(frozen=True, slots=True)
class GameConfig:
    """The options of a game.

    Numpy scalars, lists, arrays and a mapping as reward are converted to Python scalars, tuples and a ``RewardConfig``, so that
    options read from JSON give an equal configuration.

    Attributes:
        players: 2 to 16.
        height: Rows, 4 to 64, or a pair ``(minimum, maximum)``: each game then draws its own, padded to the maximum.
        width: Columns, as ``height``.
        max_turns: Turns after which a game is truncated.
        rules: ``"live"`` (move order of 2025 and general trades), ``"v3"`` to ``"v18"``, the rules of a replay version, or
            ``"competition"``, those of the bot competition, which replace the defaults of some options: see
            ``COMPETITION_DEFAULTS``.
        map: A board as text (see ``generals_env.board_text``), which sets height, width and players. None draws random maps.
        fog: Whether players see only their own tiles and the adjacent ones.
        teams: One team number a player. None: each player is a team.
        modifiers: Names among ``MODIFIERS``.
        mountain_density: Share of the tiles that are mountains, or a pair ``(minimum, maximum)`` from which each game draws.
        city_density: Share of the tiles that are cities; None for that of the live game, 2% and 0.3% a player.
        reward: Weights of the reward, a ``RewardConfig`` or a mapping of its fields.
        observation: Layout of the tensor: ``"standard"``, the nine channels of the wire format, or ``"full"``, with twelve more
            (``generals_env.engine.observations.reference.FULL_CHANNELS``).
        render_mode: One of ``RENDER_MODES`` or None.
        render_player: Player whose view ``render`` shows; None shows the whole board.
        touch_turn: With the rules of the competition, turn from which a touch of the general wins; None: 800.
        start: Where games begin: a ``SpawnDistance``, the range of steps between generals on random maps, also as
            ``{"spawn_distance": [minimum, maximum]}``; or ``Boards`` in any turn, of which each game draws one, which
            are kept as text (``StartBoards``). Options that are left out are those of the boards. ``max_turns`` counts
            the turn of the board.
    """

    players: int = 2
    height: int | tuple[int, int] = 20
    width: int | tuple[int, int] = 20
    max_turns: int = 1000
    rules: str = "live"
    map: str | None = None
    fog: bool = True
    teams: tuple[int, ...] | None = None
    modifiers: tuple[str, ...] = ()
    mountain_density: float | tuple[float, float] = (0.15, 0.25)
    city_density: float | None = None
    reward: RewardConfig = dataclasses.field(default_factory=RewardConfig)
    observation: str = "standard"
    render_mode: str | None = None
    render_player: int | None = None
    touch_turn: int | None = None
    start: Any = None

    @classmethod
    def from_options(cls, **options: Any) -> GameConfig:
        """Return a configuration from keyword options; those left out have the defaults of the rules.

        Raises:
            ConfigError: If the value of an option is invalid.
            OptionError: If an option is unknown.
            MapError: If ``map`` does not describe a board.
        """
        check_options(cls, options, OPTIONS)
        if options.get("map") is not None:
            for name, value in map_options(options["map"]).items():
                options.setdefault(name, value)
        start = options["start"] = checked_start(options.get("start"))
        if isinstance(start, StartBoards):
            options = {**options_of_boards(start.boards(), MODIFIERS), **options}
        if isinstance(options.get("rules"), str) and options["rules"] == "competition":
            options = {**COMPETITION_DEFAULTS, **options}
        return cls(**options)

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            ConfigError: If the value of an option is invalid.
        """
        make_plain(self)
        for name in SEQUENCES:
            object.__setattr__(self, name, plain_sequence(getattr(self, name)))  # frozen
        object.__setattr__(self, "reward", as_config("reward", RewardConfig, self.reward))
        check_integer("players", self.players, 2, MAX_PLAYERS)
        for name in ("height", "width"):
            check_size(name, getattr(self, name))
        check_integer("max_turns", self.max_turns, 1, MAX_TURNS)
        check_flag("fog", self.fog)
        if not isinstance(self.rules, str) or not re.fullmatch(r"live|competition|v([3-9]|1[0-8])", self.rules):
            raise ConfigError(f"rules: expected 'live', 'competition' or 'v3' to 'v{LIVE_VERSION}', got {shown(self.rules)}")
        if self.observation not in tuple(LAYOUTS):
            raise ConfigError(f"observation: expected one of {', '.join(LAYOUTS)}, got {shown(self.observation)}")
        if self.render_mode is not None and self.render_mode not in RENDER_MODES:
            raise ConfigError(f"render_mode: expected None or one of {', '.join(RENDER_MODES)}, got {shown(self.render_mode)}")
        if self.render_player is not None:
            check_integer("render_player", self.render_player, 0, self.players - 1)
        if not isinstance(self.modifiers, tuple) or any(name not in tuple(MODIFIERS) for name in self.modifiers):
            raise ConfigError(f"modifiers: expected names among {', '.join(MODIFIERS)}, got {shown(self.modifiers)}")
        object.__setattr__(self, "start", checked_start(self.start))
        self._check_teams()
        self._check_densities()
        self._check_competition()
        self._check_start()
        if self.map is not None:
            for name, value in map_options(self.map).items():
                if getattr(self, name) != value:
                    raise ConfigError(f"{name}: expected {value} as on the map, got {shown(getattr(self, name))}: leave it out")

    def _check_teams(self) -> None:
        teams = self.teams
        if teams is None:
            return
        if not isinstance(teams, tuple) or len(teams) != self.players:
            raise ConfigError(f"teams: expected one team number for each of {self.players} players, got {shown(teams)}")
        for team in teams:
            check_integer("teams", team, 0, 127)
        if len(set(teams)) < 2:
            raise ConfigError(f"teams: expected at least two teams, got {shown(teams)}: use different numbers, or None")

    def _check_densities(self) -> None:
        for name, density, maximum in (
            ("mountain_density", self.mountain_range[0], MAX_MOUNTAINS),
            ("mountain_density", self.mountain_range[1], MAX_MOUNTAINS),
            ("city_density", self.city_share, MAX_CITIES),
        ):
            if not is_number(density) or not 0 <= density <= maximum:
                raise ConfigError(f"{name}: expected a share from 0 to {maximum}, got {shown(getattr(self, name))}")
        low, high = self.mountain_range
        if low > high:
            raise ConfigError(f"mountain_density: expected (minimum, maximum), got {shown(self.mountain_density)}")
        smallest = bounds(self.height)[0] * bounds(self.width)[0]
        if self.map is None and smallest < MIN_AREA * self.players:
            raise ConfigError(
                f"players: expected at most one for every {MIN_AREA} tiles, "
                f"got {self.players} on a board of {bounds(self.height)[0]}x{bounds(self.width)[0]}: "
                "use fewer players or a larger board"
            )

    def _check_competition(self) -> None:
        """Check the options that only the rules of the competition have, or that they do not have."""
        if self.rules != "competition":
            if self.touch_turn is not None:
                raise ConfigError(
                    f"touch_turn: expected None with rules {self.rules!r}, got {shown(self.touch_turn)}: "
                    "leave it out, or use rules='competition'"
                )
            return
        if self.touch_turn is not None:
            check_integer("touch_turn", self.touch_turn, 0, MAX_TURNS)
        for name, allowed in (("players", 2), ("teams", None), ("modifiers", ()), ("city_density", None)):
            if getattr(self, name) != allowed:
                raise ConfigError(
                    f"{name}: expected {allowed!r} with rules 'competition', got {shown(getattr(self, name))}: "
                    "leave it out, or use rules='live'"
                )
        if self.mountain_range[1] > MAX_COMPETITION_MOUNTAINS:
            raise ConfigError(
                f"mountain_density: expected a share from 0 to {MAX_COMPETITION_MOUNTAINS} with rules 'competition', "
                f"got {shown(self.mountain_density)}"
            )
        if self.map is not None:
            terrain = parse_board(self.map).terrain[0]
            other = np.flatnonzero(~np.isin(terrain, (PLAIN, GENERAL, CITY, MOUNTAIN)))
            if len(other):
                row, column = divmod(int(other[0]), self.shape[1])
                raise ConfigError(
                    "map: expected plain tiles, mountains, generals and cities with rules 'competition', got another tile in "
                    f"row {row}, column {column}: replace it, or use rules='live'"
                )

    def _check_start(self) -> None:
        """Check that the option ``start`` fits the others."""
        if self.start is not None and self.map is not None:
            raise ConfigError("start: expected None with a map, got a start: leave one of them out")
        if not isinstance(self.start, StartBoards):
            return
        check_fit(self, self.start.boards())

    def fit_start(self, boards: Boards) -> Boards:
        """Return boards with which games of this configuration may begin, in arrays of its shape.

        Raises:
            ConfigError: If they are not boards of running games with these players and rules, or too large.
        """
        check_boards(boards)
        check_fit(self, boards)
        return fit_boards(boards, *self.shape)

    def limited(self, max_episode_steps: Any) -> GameConfig:
        """Return this configuration with ``max_turns`` limited to ``max_episode_steps``, Gymnasium's time limit.

        Args:
            max_episode_steps: A positive integer; None or -1, as in ``gymnasium.make``, for no limit besides ``max_turns``.

        Raises:
            ConfigError: If it is not one of these.
        """
        if max_episode_steps is None or (max_episode_steps == -1 and is_number(max_episode_steps)):
            return self
        steps = check_integer("max_episode_steps", max_episode_steps, 1, MAX_TURNS)
        return dataclasses.replace(self, max_turns=min(self.max_turns, steps))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the arrays, including padding."""
        return bounds(self.height)[1], bounds(self.width)[1]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of an observation."""
        return LAYOUTS[self.observation]

    @property
    def actions(self) -> int:
        """Number of actions: 8*H*W + 1, with the rules of the competition 9*H*W + 1."""
        height, width = self.shape
        return action_count(self.version, height * width)

    @property
    def version(self) -> int:
        """Replay version whose rules apply, or ``COMPETITION_VERSION``."""
        if self.rules == "competition":
            return COMPETITION_VERSION
        return LIVE_VERSION if self.rules == "live" else int(self.rules[1:])

    @property
    def modifier_bits(self) -> int:
        """Modifiers as bits of ``Boards.modifiers``; with the rules of the competition, the turn of the touch."""
        if self.rules == "competition":
            return (TOUCH_TURN if self.touch_turn is None else self.touch_turn) << TOUCH_SHIFT
        return sum(MODIFIERS[name] for name in set(self.modifiers))

    @property
    def mountain_range(self) -> tuple[float, float]:
        """Minimum and maximum share of mountains."""
        density = self.mountain_density
        if isinstance(density, tuple):
            if len(density) != 2:
                raise ConfigError(f"mountain_density: expected a share or a pair (minimum, maximum), got {shown(density)}")
            return density
        return density, density

    @property
    def city_share(self) -> float:
        """Share of cities."""
        return 0.02 + 0.003 * self.players if self.city_density is None else self.city_density

    def empty_boards(self, count: int) -> Boards:
        """Return ``count`` boards of this configuration, without maps."""
        boards = empty_boards(count, *self.shape, self.players, self.version, self.modifier_bits)
        boards.games["fog"] = self.fog
        if self.teams is not None:
            boards.players["team"] = np.array(self.teams, np.int8)
        return boards

    def map_parameters(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return sizes (6,) int64 and densities (3,) float64 as ``generate_map`` expects them."""
        start = self.start
        spawn = (start.minimum, start.maximum) if isinstance(start, SpawnDistance) else (0, 0)
        return (
            np.array([*bounds(self.height), *bounds(self.width), *spawn], np.int64),
            np.array([*self.mountain_range, self.city_share], np.float64),
        )

    def template(self) -> Boards | None:
        """Return the boards of which each game draws one to begin with: that of ``map``, or those of ``start``, padded.

        None if maps are random.
        """
        if isinstance(self.start, StartBoards):
            return fit_boards(self.start.boards(), *self.shape)
        if self.map is None:
            return None
        board = parse_board(self.map)
        board.games["version"] = self.version
        board.games["modifiers"] = self.modifier_bits
        board.games["fog"] = self.fog
        if self.teams is not None:
            board.players["team"] = np.array(self.teams, np.int8)
        return board

    def no_map(self) -> ConfigError:
        """Return the error for options with which no map was found."""
        told = f"with {self.players} players on {self.shape}"
        if isinstance(self.start, SpawnDistance):
            return ConfigError(
                f"start: expected generals {self.start.minimum} to {self.start.maximum} steps apart, found no such map in "
                f"{ATTEMPTS} tries, got {self.start} {told}: use a wider range or a larger board"
            )
        return ConfigError(
            f"mountain_density: expected room for a fair map, found none in {ATTEMPTS} tries, "
            f"got {self.mountain_density!r} {told}: use fewer mountains, fewer players or a larger board"
        )


#: What ``GameConfig.from_options`` uses with the rules of the competition where an option is left out.
COMPETITION_DEFAULTS: dict[str, Any] = {
    "height": (18, 21),
    "width": (18, 21),
    "max_turns": 1200,
    "mountain_density": (0.24, 0.26),
}

#: Names of all options of a game.
OPTIONS = tuple(field.name for field in dataclasses.fields(GameConfig))

#: Options that can be lists, tuples or arrays.
SEQUENCES = ("height", "width", "teams", "modifiers", "mountain_density")


def map_options(text: str) -> dict[str, int]:
    """Return the options that a map sets."""
    board = parse_board(text)
    game = board.games[0]
    return {"players": board.players.shape[1], "height": int(game["height"]), "width": int(game["width"])}


def bounds(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return a size or a range of sizes as ``(minimum, maximum)``."""
    return size if isinstance(size, tuple) else (size, size)


def check_size(name: str, value: Any) -> None:
    """Raise ``ConfigError`` unless ``value`` is a size or a pair ``(minimum, maximum)`` of sizes."""
    if isinstance(value, tuple) and len(value) != 2:
        raise ConfigError(f"{name}: expected an integer or a pair (minimum, maximum), got {shown(value)}")
    for size in bounds(value):
        check_integer(name, size, MIN_SIZE, MAX_SIZE)
    if bounds(value)[0] > bounds(value)[1]:
        raise ConfigError(f"{name}: expected (minimum, maximum), got {shown(value)}")
