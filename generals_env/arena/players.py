"""Makes the players of an arena from their names: built-in policies, checkpoints, models, callables and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from generals_env.agents.shipped import is_shipped, shipped_file
from generals_env.arena.identities import clean, command_digest, file_digest, short_command, source_digest
from generals_env.bridge.batch_policies import PROGRAM, is_file, load_batch_policy
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.program import program_arguments
from generals_env.bridge.peers.peer_programs import PeerSource, is_peer
from generals_env.engine.policies.codes import GIVEN
from generals_env.errors import ConfigError
from generals_env.opponents import BatchPolicy, is_builtin, policy_code

__all__ = ["BUILTIN", "CALLABLE", "CHECKPOINT", "MODEL", "PROGRAM_KIND", "Player", "make_player", "make_players"]

# Kinds of players.
BUILTIN, CHECKPOINT, MODEL, CALLABLE, PROGRAM_KIND = "builtin", "checkpoint", "model", "callable", "program"

#: Versions of the built-in policies: a policy that plays in another way gets a higher one, as a store must not mix the two.
VERSIONS = {"random": 1, "expander": 1, "hunter": 1, "planner": 1}

#: Share of the moves of a Q-network that are random legal ones: without memory, a policy may move back and forth for ever.
RANDOM_MOVES = 0.02

#: Digits of the hash of a file in the name of its player.
DIGITS = 8


@dataclass(frozen=True)
class Player:
    """A player of the arena.

    Attributes:
        name: Name in results; it holds a part of the identity, so that two files of one name are two players.
        given: The name by which the player was asked for.
        kind: ``"builtin"``, ``"checkpoint"``, ``"model"``, ``"callable"`` or ``"program"``.
        identity: What played: the version of a built-in policy, the SHA-256 of a file, or a command.
        code: Code of a built-in policy in the engine, ``GIVEN`` for other players.
        policy: Chooses actions for a batch of observations; None for built-in policies and programs.
        channels: Channels of the observations that the policy takes.
        random_moves: Share of moves that are random legal ones.
        samples: Whether the policy may draw from the generator of torch.
        command: Arguments of a program; empty for other players.
    """

    name: str
    given: str
    kind: str
    identity: str
    code: int = GIVEN
    policy: BatchPolicy | None = field(default=None, repr=False, compare=False)
    channels: int = 9
    random_moves: float = 0.0
    samples: bool = False
    command: tuple[str, ...] = ()


def make_players(
    names: Sequence[str], trust: bool = False, limits: Limits | None = None, peer: PeerSource | None = None
) -> list[Player]:
    """Return the players of names; arguments and errors as of ``make_player``.

    Raises:
        ConfigError: If there are less than two, or two of them are the same player.
        StorageError: As of ``make_player``.
    """
    if len(names) < 2:
        raise ConfigError(f"players: expected at least two, got {len(names)}: name another one, for example expander")
    players: dict[str, Player] = {}
    for name in names:
        player = make_player(name, trust, limits, peer)
        if player.name in players:
            raise ConfigError(
                f"players: expected different ones, got {players[player.name].given!r} and {name!r}, which are the same: "
                "leave one out"
            )
        players[player.name] = player
    return list(players.values())


def make_player(name: str, trust: bool = False, limits: Limits | None = None, peer: PeerSource | None = None) -> Player:
    """Return the player of a name.

    Args:
        name: A built-in policy; a saved network; an agent of the package (``trained``); a ``.zip`` file of
            Stable-Baselines3;
            ``module:callable`` on batches of observations; ``stdio:COMMAND``, a program that speaks the line protocol of the
            competition; or ``peer:NAME``, an agent of generals-bots (see ``bridge.peers``).
        trust: Whether to load files that can run code of their own: those of Stable-Baselines3.
        limits: Limits of programs; other ones than the default are a part of a program's name.
        peer: Where generals-bots lies.

    Raises:
        ConfigError: If there is no such player, or a file would have to be trusted.
        StorageError: If a file cannot be loaded.
    """
    if is_builtin(name):
        version = VERSIONS[name.partition(":")[0]]
        return Player(name, name, BUILTIN, f"policy version {version}", code=policy_code(name))
    if name.startswith(PROGRAM) or is_peer(name):
        return program_player(name, Limits() if limits is None else limits, peer)
    policy = load_batch_policy("player", name, trust)
    if isinstance(policy, str):
        return make_player(policy)
    channels = getattr(policy, "channels", 9)
    if channels not in (9, 21):
        raise ConfigError(f"player: expected a policy of 9 or 21 channels, got {name!r}, which takes {channels}: leave it out")
    if is_shipped(name) or is_file(name):
        path = shipped_file(name) if is_shipped(name) else Path(name)
        digest = file_digest(path)
        model = path.suffix == ".zip"
        draws = model or hasattr(policy, "probabilities")  # such a policy leaves a position that repeats by itself
        return Player(
            name=f"{clean(name if is_shipped(name) else path.stem)[:40]}-{digest[:DIGITS]}",
            given=name,
            kind=MODEL if model else CHECKPOINT,
            identity=f"sha256:{digest}",
            policy=policy,
            channels=channels,
            random_moves=0.0 if draws else RANDOM_MOVES,
        )
    digest = source_digest(policy)
    return Player(
        name=f"{clean(name)[:60]}-{digest[:DIGITS]}" if digest else clean(name)[:60],
        given=name,
        kind=CALLABLE,
        identity=f"sha256:{digest}" if digest else name,
        policy=policy,
        channels=channels,
        samples=not hasattr(policy, "probabilities"),
    )


def program_player(name: str, limits: Limits, peer: PeerSource | None) -> Player:
    """Return the player of a program's command; its identity holds the hashes of the files that the command names."""
    command = name.removeprefix(PROGRAM).strip()
    arguments = program_arguments(command, peer)
    time = "" if limits.move == Limits().move else f"@{1000 * limits.move:g}ms"
    if is_peer(command):
        agent, at, _ = command.partition("@")
        version = "2.5" if not at and (peer is None or peer.checkout is None) else "2.6"
        return Player(
            f"{clean(agent)[:60]}-{version}{time}",
            name,
            PROGRAM_KIND,
            f"generals-bots {version}{time}",
            command=tuple(arguments),
        )
    digest = command_digest(command)
    identity = f"{command[:1000]}{time} sha256:{digest}"
    return Player(f"{short_command(command)}-{digest[:DIGITS]}{time}", name, PROGRAM_KIND, identity, command=tuple(arguments))
