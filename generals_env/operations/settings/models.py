"""Defines the settings of ``experience.yaml`` as pydantic models, with the keys of the guide and the package's own.

Each field says in its description what it sets; ``live`` marks the keys that take effect without a restart. The models check
types and ranges; ``checks.py`` compares keys with each other and with what the package offers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

try:
    from pydantic import BaseModel, ConfigDict, Field, model_validator
except ImportError as error:
    raise ImportError(f'settings: expected pydantic, got {error}: pip install "generals_env[settings]"') from None

from generals_env.config import COMPETITION_DEFAULTS

__all__ = [
    "Collection",
    "Compression",
    "Debug",
    "FileStorage",
    "Games",
    "Log",
    "Logging",
    "Metrics",
    "Rewards",
    "S3Storage",
    "Section",
    "Settings",
    "Storage",
    "Streaming",
    "Training",
    "setting",
]

Overflow = Literal["block", "drop_oldest", "drop_newest"]
FormatName = Literal["npz", "parquet", "tfrecord", "tfrecord.gz", "games"]
Size = Annotated[int, Field(ge=4, le=64)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**62)]
Weight = Annotated[float, Field(allow_inf_nan=False, ge=-3.4028234663852886e38, le=3.4028234663852886e38)]  # float32


def setting(default: Any, description: str, *, live: bool = False, **limits: Any) -> Any:
    """Return a field of a section.

    Args:
        default: Its value where no layer sets it.
        description: What it sets, for ``config init`` and the documentation.
        live: Whether a running ``generals-env run`` takes a change over; otherwise the change needs a restart.
        limits: Limits as ``pydantic.Field`` takes them.
    """
    return Field(default, description=description, json_schema_extra={"live": live}, **limits)


class Section(BaseModel):
    """A group of keys: immutable, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Collection(Section):
    """Recording of experience while games are played."""

    enabled: bool = setting(True, "Record the games; false plays them without recording anything.")
    buffer_size: int = setting(
        10_000, "Capacity of the buffer between the games and their sinks, in experiences.", ge=1, le=2**40
    )
    overflow: Overflow = setting(
        "block",
        "What a full buffer does: let the games wait, or drop the oldest or newest experiences and count them.",
        live=True,
    )
    keep_probability: Share = setting(
        1.0, "Share of the experiences to keep; experiences that end a game are always kept.", live=True
    )
    pressure_threshold: Share = setting(
        0.8, "Utilization of the buffer from which on pressure_keep_probability applies.", live=True
    )
    pressure_keep_probability: Share = setting(1.0, "Share of the experiences to keep from this utilization on.", live=True)
    validation: bool = setting(True, "Validate each experience, and drop and count invalid ones.")
    turns_per_second: Seconds | None = setting(None, "Maximum rate of turns, of all games together; null: no limit.", live=True)
    max_games: int | None = setting(None, "Stop after this many ended games; null: never.", ge=1)
    max_seconds: Seconds | None = setting(None, "Stop after playing for this time; null: never.")


class Games(Section):
    """The games that are played. A change ends the running games, and new ones begin."""

    parallel: int = setting(64, "Number of games that are played at once.", live=True, ge=1, le=2**16)
    policies: tuple[str, ...] = setting(
        ("expander",),
        "Policy of each player, or one for all: a built-in policy (random, expander, hunter, planner), trained, or the file of "
        "a network.",
        live=True,
        min_length=1,
    )
    policy_version: str | None = setting(
        None, "Version of the policies, recorded in the metadata; null: not recorded.", live=True
    )
    players: int = setting(2, "Number of players of a game.", live=True, ge=2, le=16)
    height: Size | tuple[Size, Size] = setting(
        20, "Rows of the board; with a minimum and maximum each game draws its own.", live=True
    )
    width: Size | tuple[Size, Size] = setting(20, "Columns of the board, as height.", live=True)
    max_turns: int = setting(1000, "Turns after which a game is cut off.", live=True, ge=1, le=2**31 - 1)
    rules: str = setting(
        "live",
        "Rules: live, those of a replay version, v3 to v18, or competition, which has defaults of its own for the board.",
        live=True,
    )
    fog: bool = setting(True, "Whether players see only their own tiles and the adjacent ones.", live=True)
    teams: tuple[int, ...] | None = setting(None, "Team number of each player; null: each player is a team.", live=True)
    modifiers: tuple[str, ...] = setting(
        (), "Modifiers of the game, among leapfrog, defenseless, torus and slippery.", live=True
    )
    mountain_density: Share | tuple[Share, Share] = setting(
        (0.15, 0.25), "Share of the tiles that are mountains; with a minimum and maximum each game draws its own.", live=True
    )
    city_density: Share | None = setting(None, "Share of the tiles that are cities; null: that of the live game.", live=True)
    observation: Literal["standard", "full"] = setting("standard", "Layout of the observations: 9 channels, or 21.", live=True)
    seed: int | None = setting(None, "Seed of the games; null: a random one.", live=True, ge=0)
    threads: int | None = setting(None, "Threads that play; null: one for each core.", ge=1, le=1024)

    @model_validator(mode="before")
    @classmethod
    def _take_defaults_of_rules(cls, given: Any) -> Any:
        """Add the defaults that the rules of the competition have for the board, where no layer sets another value."""
        return {**COMPETITION_DEFAULTS, **given} if isinstance(given, dict) and given.get("rules") == "competition" else given


class Log(Section):
    """The durable log, which consumers and storage read."""

    enabled: bool = setting(True, "Write the log; without it only the written files survive a crash.")
    directory: str = setting("runs/log", "Folder of the log, on a disk of this machine.", min_length=1)
    durability: Literal["commit", "normal"] = setting(
        "normal", "What survives a power cut: commit, all that was acknowledged; normal, all up to the last flush."
    )
    max_bytes: Bytes | None = setting(
        10 * 2**30, "Size of the log above which the oldest segments are deleted; null: no limit.", ge=1
    )
    max_age_seconds: Seconds | None = setting(None, "Age above which segments are deleted; null: no limit.")
    segment_bytes: int = setting(64 * 2**20, "Size at which a segment is completed and the next one begun.", ge=1, le=2**40)
    drop_unread: bool = setting(False, "Whether segments that storage has not read yet are deleted, too.")
    min_free_bytes: Bytes = setting(256 * 2**20, "Minimum free space of the disk; below it writing stops.")


class Streaming(Section):
    """The gRPC server."""

    enabled: bool = setting(True, "Serve the stream.")
    address: str = setting("127.0.0.1:50051", "Host and port; addresses other than loopback need TLS.", min_length=1)
    max_connections: int = setting(100, "Maximum number of concurrent streams.", ge=1, le=2**30)
    batch_timeout_ms: int = setting(
        100,
        "Maximum time that an incomplete batch waits for more experiences, where the request names none.",
        live=True,
        ge=0,
        le=60_000,
    )
    batch_size: int = setting(32, "Experiences of a batch, where the request names none.", live=True, ge=1, le=1000)
    compression: bool = setting(True, "Whether messages are compressed for clients that allow it.", live=True)
    max_message_size: int = setting(10_485_760, "Maximum size of a message, in bytes.", ge=2**16, le=2**30)
    max_requests_per_second: int = setting(500, "Maximum rate of requests of one client address.", ge=1, le=2**30)
    policy: Overflow = setting(
        "drop_oldest",
        "A consumer that is max_lag behind misses the oldest or the newest; with block, without a log, games wait for it.",
        live=True,
    )
    max_lag: int | None = setting(
        None, "Maximum number of experiences that a consumer is behind; null: no limit.", live=True, ge=1
    )
    certificate: str | None = setting(None, "PEM file with the certificate of the server; null: no TLS.")
    key: str | None = setting(None, "PEM file with the private key of the certificate.")
    client_ca: str | None = setting(
        None, "PEM file with the certificate authority of clients, which then need certificates; null: they need none."
    )
    token_variable: str | None = setting(
        None, "Name of the environment variable that holds the token of the clients; null: they need none."
    )
    grace_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = setting(
        5.0, "Time that consumers get to finish at the end.", live=True
    )


class S3Storage(Section):
    """Files in a bucket. Credentials come from the environment only."""

    bucket: str = setting("generals-experiences", "Name of the bucket, which must exist.", min_length=1)
    prefix: str = setting("training/", "Start of the names of the objects.")
    region: str = setting("us-east-1", "Region of the bucket.")
    endpoint: str | None = setting(None, "URL of another server with the S3 interface; null: that of the region.")
    format: FormatName = setting("npz", "Format of the files.")


class FileStorage(Section):
    """Files in a folder."""

    directory: str = setting("runs/experiences", "Folder of the files.", min_length=1)
    format: FormatName = setting("npz", "Format of the files.")


class Storage(Section):
    """Files of experience."""

    enabled: bool = setting(True, "Write files; false keeps experience only in the log or buffer.")
    type: Literal["file", "s3"] = setting("file", "Where files are written: file, in a folder; s3, in a bucket.")
    naming: Literal["packed", "games"] = setting("packed", "packed: many games in one file; games: files for each game.")
    max_file_bytes: int = setting(2**25, "Size in memory at which the experiences of a file are written.", ge=1, le=2**40)
    max_file_seconds: Seconds = setting(300.0, "Age at which the experiences of a file are written.")
    keep_bytes: int | None = setting(None, "Total size above which the oldest files are deleted; null: no limit.", ge=1)
    keep_seconds: Seconds | None = setting(None, "Age above which files are deleted; null: no limit.")
    min_free_bytes: Bytes = setting(2**28, "Minimum free space of the disk; below it when_full applies.")
    when_full: Literal["raise", "drop", "delete_oldest"] = setting(
        "raise", "What happens below min_free_bytes: an error, dropping and counting experiences, or deleting the oldest files."
    )
    s3: S3Storage = S3Storage()
    file: FileStorage = FileStorage()


class Rewards(Section):
    """Weights of the reward, as in ``RewardConfig``. A change ends the running games, and new ones begin."""

    win_game: Weight = setting(1.0, "Reward of winning.", live=True)
    lose_game: Weight = setting(-1.0, "Reward of losing.", live=True)
    city_captured: Weight = setting(0.1, "Reward of each captured city.", live=True)
    city_lost: Weight = setting(-0.1, "Reward of each lost city.", live=True)
    territory_gained: Weight = setting(0.0, "Reward of each tile gained in a turn.", live=True)
    territory_lost: Weight = setting(0.0, "Reward of each tile lost in a turn.", live=True)
    army_gained: Weight = setting(0.0, "Reward of each unit of army gained in a turn.", live=True)
    army_lost: Weight = setting(0.0, "Reward of each unit of army lost in a turn.", live=True)
    enemy_general_captured: Weight = setting(0.0, "Reward of each captured general.", live=True)
    own_general_lost: Weight = setting(0.0, "Reward of losing the general while the game goes on.", live=True)
    army_advantage: Weight = setting(0.0, "Factor of (own - enemy) / (own + enemy) of the armies, each turn.", live=True)


class Compression(Section):
    """The zstd level of the log and of files."""

    adaptive: bool = setting(False, "Whether the level follows the CPU load and the speed of the link.", live=True)
    level: int = setting(1, "zstd level; with adaptive the one to begin with.", live=True, ge=1, le=19)
    max_level: int = setting(9, "Maximum of the adaptive level.", live=True, ge=1, le=19)
    low_cpu: Share = setting(0.5, "CPU load below which the level rises.", live=True)
    high_cpu: Share = setting(0.85, "CPU load above which the level falls.", live=True)


class Metrics(Section):
    """The HTTP server of metrics (``/metrics``) and health (``/healthz``, ``/readyz``)."""

    enabled: bool = setting(True, "Serve metrics and health.")
    address: str = setting("127.0.0.1:9090", "Host and port of the HTTP server.", min_length=1)
    per_game: bool = setting(
        True, "Whether experiences are counted for each game and player; false counts all together.", live=True
    )
    ended_games_seconds: Seconds = setting(60.0, "Time for which the counts of an ended game are still shown.", live=True)


class Debug(Section):
    """The debug endpoint: stacks, allocations, profiles."""

    enabled: bool = setting(False, "Serve the debug endpoint.")
    address: str = setting("127.0.0.1:6060", "Loopback host and port.", min_length=1)


class Logging(Section):
    """Log lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "Lowest level of the lines that are written.", live=True
    )
    format: Literal["text", "json"] = setting("text", "text: lines to read; json: one JSON object a line.")


class Training(Section):
    """The trainer of ``generals-env train``, as ``TrainerConfig``."""

    capacity: int = setting(100_000, "Capacity of the replay buffer, in experiences.", ge=1, le=2**40)
    min_size: int = setting(10_000, "Experiences that the buffer must hold before the first step.", ge=1, le=2**40)
    batch_size: int = setting(256, "Experiences of a step.", ge=1, le=2**40)
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = setting(5e-4, "Learning rate of Adam.")
    gamma: Share = setting(0.99, "Discount per turn.")
    n_step: int = setting(3, "Turns of an n-step return.", ge=1, le=2**40)
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = setting(0.6, "Exponent of priorities; 0: uniform sampling.")
    beta: Share = setting(0.4, "Initial exponent of importance weights.")
    beta_steps: int = setting(100_000, "Steps in which beta rises to 1.", ge=1, le=2**40)
    target_every: int = setting(250, "Steps between updates of the target network.", ge=1, le=2**40)
    max_gradient: Annotated[float, Field(gt=0, allow_inf_nan=False)] = setting(10.0, "Norm to which gradients are clipped.")
    augment: bool = setting(False, "Whether each experience is transformed by a random symmetry of the board.")
    replay_ratio: Seconds | None = setting(
        None, "Minimum mean number of draws of each experience; null: reading waits for none."
    )
    seed: int | None = setting(None, "Seed of sampling; null: a random one.", ge=0, le=2**62)


class Settings(Section):
    """All settings, the mapping below ``experience:`` in the file."""

    collection: Collection = Collection()
    games: Games = Games()
    log: Log = Log()
    streaming: Streaming = Streaming()
    storage: Storage = Storage()
    rewards: Rewards = Rewards()
    compression: Compression = Compression()
    metrics: Metrics = Metrics()
    debug: Debug = Debug()
    logging: Logging = Logging()
    training: Training = Training()
