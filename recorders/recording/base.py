"""Defines ``ExperienceRecorder``, the wrapper that records an environment, and the registry of its subclasses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from generals_env.arguments import check_flag, check_integer
from generals_env.concurrency.guard import Guard
from generals_env.concurrency.process_owner import finalize
from generals_env.env_spec import json_value
from generals_env.errors import ConfigError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience.sink import AnySink
from generals_env.recorders.recording.delivery_queue import MAX_WAITING_BYTES
from generals_env.recorders.recording.turn_batcher import TurnBatcher
from generals_env.recorders.sinks.pending_batches import check_overflow

__all__ = ["ExperienceRecorder", "foreign_environment", "register"]

Self = TypeVar("Self", bound="ExperienceRecorder")

#: For each kind of environment: whether an object is one, and how to get the class that records it. See ``register``.
RECORDERS: list[tuple[Callable[[Any], bool], Callable[[], type[ExperienceRecorder]]]] = []


@pickled_as("generals_env.recorders")
class ExperienceRecorder(NotCopied):
    """Records every transition of an environment of this package, also below or above other wrappers.

    ``ExperienceRecorder(env, sink)`` returns an ``AECRecorder``, ``ParallelRecorder``, ``VectorRecorder``,
    ``SingleRecorder`` or ``SB3Recorder``, a wrapper of the environment's own library. It records the game itself: boards,
    the actions that the engine executed, its rewards. How the package's wrappers between recorder and environment change
    them is kept as a recipe and derived again; where other wrappers change observations, the arrays are kept
    (``batch.dense``). So ``batch.states()`` equals the learner's observations, bit for bit, and ``batch.rewards()`` its
    rewards, with two exceptions:

    - Under ``RandomSymmetry`` boards, actions and observations are those of the board before it was turned.
    - An eliminated player of a running game of ``GeneralsVector`` observes zeros; records have the observation of the board.

    Where one player learns (``GeneralsSingle``, ``GeneralsSingleVector``, ``SB3VecEnv``), only that player's experience is
    recorded, and a game that the player has lost ends there.

    Batches that the sink refuses (it raises ``StorageError`` or another ``OSError``) are kept and offered again, in order,
    before the next ones. ``overflow`` says what happens when too many wait; other errors of a sink are always raised.

    A recorder belongs to the process that made it. In a process that is forked off that one, calls that would record raise
    ``StateError``, and closing it writes nothing.

    Examples:
        >>> with ExperienceRecorder(generals_env.make(), "runs/a") as env:  # doctest: +SKIP
        ...     env.reset(seed=1)
    """

    _instead = "copy its env, which copies without recorders, and record the copy by another ExperienceRecorder"

    env: Any

    if TYPE_CHECKING:  # all attributes of an environment

        def __getattr__(self, name: str) -> Any: ...

    def __new__(cls, env: Any, *arguments: Any, **options: Any) -> ExperienceRecorder:
        """Return a recorder of the class for this kind of environment.

        Raises:
            ConfigError: If ``env`` is no environment of this package.
        """
        return object.__new__(recorder_class(env) if cls is ExperienceRecorder else cls)

    def __init__(
        self,
        env: Any,
        sink: AnySink,
        run_id: str | None = None,
        *,
        enabled: bool = True,
        opponents: bool = False,
        policies: Sequence[Any] | None = None,
        policy_versions: Sequence[Any] | None = None,
        overflow: str = "raise",
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        """Record ``env`` from now on.

        Args:
            env: An environment of this package, wrapped or not.
            sink: A folder or URL (``s3://...``), an object with ``write``, ``flush`` and ``close``, or several of these.
            run_id: Begins the ids of games; a random one without.
            enabled: Whether to record at all. If not, calls are only passed on, and no sink is opened.
            opponents: Whether to record all seats where one player learns. Games that this player has lost end without a
                terminal experience of the other players.
            policies: The policy of each player, for the metadata: names, or other values that JSON takes.
            policy_versions: The version of each player's policy, likewise.
            overflow: What happens while the sink refuses experiences. ``"raise"`` raises each refusal, after the turn, which
                is kept; once ``max_waiting_bytes`` wait, nothing more is played before the sink takes them: the call raises
                ``StorageError`` and changes nothing. ``"block"`` plays on, and pauses while that limit is reached.
                ``"drop_oldest"`` plays on, and drops the oldest experiences beyond the limit (counted in ``dropped``).
                These two log what the sink raises, with the module ``logging``.
            max_waiting_bytes: How much memory refused experiences may take.

        Raises:
            ConfigError: If ``env`` is no environment of this package, ``sink`` is no sink, or an option has a wrong value.
            StorageError: If the folder cannot be written.
        """
        self._check(env)
        super().__init__(env)  # type: ignore[call-arg]  # a wrapper of the environment's library comes after this class
        self._guard = self._find_guard()
        self.turn_batcher: TurnBatcher | None = None
        self.finalizer: Any = None
        enabled, opponents = check_flag("enabled", enabled), check_flag("opponents", opponents)
        players = self._config().players
        for name, values in (("policies", policies), ("policy_versions", policy_versions)):
            if values is not None and (isinstance(values, str) or len(values) != players):
                raise ConfigError(
                    f"{name}: expected one for each of {players} players, got {values!r:.200}: pass a list of {players}, "
                    "with None for players without one"
                )
        check_overflow(overflow)
        check_integer("max_waiting_bytes", max_waiting_bytes, 1, 2**62)
        if enabled:
            batcher = self._make_batcher(sink, run_id, opponents, policies)
            if policy_versions is not None:
                batcher.metadata = {**batcher.metadata, "policy_versions": json_value(list(policy_versions))}
            batcher.delivery.limit(max_waiting_bytes, overflow)
            self.turn_batcher = batcher
            # A recorder that is not closed loses nothing: this runs when it is dropped, and at exit.
            self.finalizer = finalize(self, batcher.close)
            self._attach(batcher)

    # --- Implemented for each kind of environment -----------------------------------------------------------------

    @classmethod
    def _check(cls, env: Any) -> None:
        """Raise ``ConfigError`` if ``env`` is no environment of this kind and package."""
        raise NotImplementedError

    def _config(self) -> Any:
        """Return the configuration of the games."""
        return self.env.unwrapped.config

    def _find_guard(self) -> Guard:
        """Return the guard that every change of the games holds."""
        raise NotImplementedError

    def _make_batcher(self, sink: AnySink, run_id: str | None, opponents: bool, policies: Any) -> TurnBatcher:
        """Return a batcher for the environment; arguments as of ``__init__``."""
        raise NotImplementedError

    def _attach(self, batcher: TurnBatcher) -> None:
        """Subscribe ``batcher`` to the turns of the environment."""
        raise NotImplementedError

    def _detach(self) -> None:
        """End the subscription."""
        raise NotImplementedError

    def _note(self, **changes: Any) -> None:
        """Change metadata of the batches to come."""
        batcher = self.turn_batcher
        if batcher is not None and any(batcher.metadata[name] != value for name, value in changes.items()):
            batcher.metadata = {**batcher.metadata, **changes}

    # --- Shared by all recorders ----------------------------------------------------------------------------------

    @property
    def experiences(self) -> int:
        """Experiences recorded so far."""
        return 0 if self.turn_batcher is None else self.turn_batcher.experiences

    @property
    def games(self) -> int:
        """Games recorded so far, those that go on included."""
        return 0 if self.turn_batcher is None else self.turn_batcher.games

    @property
    def waiting(self) -> int:
        """Experiences in batches that the sink has not taken; they are offered again."""
        return 0 if self.turn_batcher is None else self.turn_batcher.waiting

    @property
    def dropped(self) -> int:
        """Experiences that the sink never took: dropped for newer ones, or refused when the recorder was closed."""
        return 0 if self.turn_batcher is None else self.turn_batcher.dropped

    def flush(self) -> None:
        """Write all turns that were played, also those of games that go on.

        Raises:
            StateError: In a process that was forked off the one that made the recorder.
            StorageError: If they cannot be written; they are kept.
        """
        if self.turn_batcher is not None:
            with self._guard("flush"):
                self.turn_batcher.flush()

    def close(self, **options: Any) -> None:
        """Write all turns that were played, and close the sink and the environment.

        A process that was forked off the one that made the recorder closes its copy of the environment, and nothing else.

        Raises:
            StorageError: If turns cannot be written. They are lost, and counted in ``dropped``.
        """
        with self._guard("close"):
            if self.turn_batcher is not None:
                if self.turn_batcher.closed:
                    return
                self._detach()
            try:
                if self.turn_batcher is not None:
                    self.turn_batcher.close()
            finally:
                super().close(**options)  # type: ignore[misc]  # a wrapper of the environment's library comes after this class

    def _require_room(self) -> None:
        """Check before a turn is played that it can be recorded; see ``TurnBatcher.require_room``."""
        if self.turn_batcher is not None:
            self.turn_batcher.require_room()

    def __enter__(self: Self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the recorder."""
        self.close()


def register(matches: Callable[[Any], bool], load: Callable[[], type[ExperienceRecorder]]) -> None:
    """Let ``ExperienceRecorder(env)`` make what ``load`` returns for environments that ``matches`` accepts.

    Args:
        matches: Returns whether an object is such an environment. Must not import an optional library.
        load: Returns the class; called when the first such environment is recorded.
    """
    RECORDERS.append((matches, load))


def recorder_class(env: Any) -> type[ExperienceRecorder]:
    """Return the class that records ``env``; raise ``ConfigError`` if there is none."""
    for matches, load in RECORDERS:
        if matches(env):
            return load()
    raise ConfigError(
        f"env: expected an AEC, parallel, vector or single-agent environment, or a VecEnv, got {type(env).__name__}: pass "
        "one that generals_env.make, parallel_env, make_vec, gymnasium.make or SB3VecEnv made, wrapped or not"
    )


def foreign_environment(env: Any) -> ConfigError:
    """Return the error for an environment that does not play the games of this package."""
    return ConfigError(
        f"env: expected an environment of generals_env, got {type(env.unwrapped).__name__}: pass one that generals_env.make, "
        "parallel_env, make_vec or gymnasium.make made, wrapped or not"
    )
