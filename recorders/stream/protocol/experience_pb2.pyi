import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDS: _ClassVar[Encoding]
    PACKED: _ClassVar[Encoding]

class Start(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OLDEST: _ClassVar[Start]
    NOW: _ClassVar[Start]

class Overflow(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVER_DEFAULT: _ClassVar[Overflow]
    BLOCK: _ClassVar[Overflow]
    DROP_OLDEST: _ClassVar[Overflow]
    DROP_NEWEST: _ClassVar[Overflow]
RECORDS: Encoding
PACKED: Encoding
OLDEST: Start
NOW: Start
SERVER_DEFAULT: Overflow
BLOCK: Overflow
DROP_OLDEST: Overflow
DROP_NEWEST: Overflow

class TensorState(_message.Message):
    __slots__ = ("shape", "data")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., data: _Optional[_Iterable[float]] = ...) -> None: ...

class Experience(_message.Message):
    __slots__ = ("experience_id", "game_id", "player_id", "turn", "state", "action", "reward", "next_state", "done", "action_mask", "collected_at", "metadata", "sequence", "terminated", "truncated", "next_action_mask")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EXPERIENCE_ID_FIELD_NUMBER: _ClassVar[int]
    GAME_ID_FIELD_NUMBER: _ClassVar[int]
    PLAYER_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    NEXT_STATE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ACTION_MASK_FIELD_NUMBER: _ClassVar[int]
    COLLECTED_AT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    NEXT_ACTION_MASK_FIELD_NUMBER: _ClassVar[int]
    experience_id: str
    game_id: str
    player_id: int
    turn: int
    state: TensorState
    action: int
    reward: float
    next_state: TensorState
    done: bool
    action_mask: _containers.RepeatedScalarFieldContainer[bool]
    collected_at: _timestamp_pb2.Timestamp
    metadata: _containers.ScalarMap[str, str]
    sequence: int
    terminated: bool
    truncated: bool
    next_action_mask: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, experience_id: _Optional[str] = ..., game_id: _Optional[str] = ..., player_id: _Optional[int] = ..., turn: _Optional[int] = ..., state: _Optional[_Union[TensorState, _Mapping]] = ..., action: _Optional[int] = ..., reward: _Optional[float] = ..., next_state: _Optional[_Union[TensorState, _Mapping]] = ..., done: _Optional[bool] = ..., action_mask: _Optional[_Iterable[bool]] = ..., collected_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., sequence: _Optional[int] = ..., terminated: _Optional[bool] = ..., truncated: _Optional[bool] = ..., next_action_mask: _Optional[_Iterable[bool]] = ...) -> None: ...

class ExperienceBatch(_message.Message):
    __slots__ = ("experiences", "batch_id", "stream_id", "created_at", "metadata", "packed", "next_sequence", "missed", "first_sequence")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EXPERIENCES_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    experiences: _containers.RepeatedCompositeFieldContainer[Experience]
    batch_id: int
    stream_id: str
    created_at: _timestamp_pb2.Timestamp
    metadata: _containers.ScalarMap[str, str]
    packed: bytes
    next_sequence: int
    missed: int
    first_sequence: int
    def __init__(self, experiences: _Optional[_Iterable[_Union[Experience, _Mapping]]] = ..., batch_id: _Optional[int] = ..., stream_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., packed: _Optional[bytes] = ..., next_sequence: _Optional[int] = ..., missed: _Optional[int] = ..., first_sequence: _Optional[int] = ...) -> None: ...

class StreamExperiencesRequest(_message.Message):
    __slots__ = ("game_ids", "player_ids", "min_turn", "follow", "batch_size", "enable_compression", "max_batch_wait_ms", "encoding", "start", "from_sequence", "resume", "stream_id", "full_actions", "shard", "shards", "max_message_bytes", "overflow", "max_lag")
    GAME_IDS_FIELD_NUMBER: _ClassVar[int]
    PLAYER_IDS_FIELD_NUMBER: _ClassVar[int]
    MIN_TURN_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    ENABLE_COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FULL_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OVERFLOW_FIELD_NUMBER: _ClassVar[int]
    MAX_LAG_FIELD_NUMBER: _ClassVar[int]
    game_ids: _containers.RepeatedScalarFieldContainer[str]
    player_ids: _containers.RepeatedScalarFieldContainer[int]
    min_turn: int
    follow: bool
    batch_size: int
    enable_compression: bool
    max_batch_wait_ms: int
    encoding: Encoding
    start: Start
    from_sequence: int
    resume: bool
    stream_id: str
    full_actions: bool
    shard: int
    shards: int
    max_message_bytes: int
    overflow: Overflow
    max_lag: int
    def __init__(self, game_ids: _Optional[_Iterable[str]] = ..., player_ids: _Optional[_Iterable[int]] = ..., min_turn: _Optional[int] = ..., follow: _Optional[bool] = ..., batch_size: _Optional[int] = ..., enable_compression: _Optional[bool] = ..., max_batch_wait_ms: _Optional[int] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., start: _Optional[_Union[Start, str]] = ..., from_sequence: _Optional[int] = ..., resume: _Optional[bool] = ..., stream_id: _Optional[str] = ..., full_actions: _Optional[bool] = ..., shard: _Optional[int] = ..., shards: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., overflow: _Optional[_Union[Overflow, str]] = ..., max_lag: _Optional[int] = ...) -> None: ...

class SubmitExperiencesRequest(_message.Message):
    __slots__ = ("experiences", "packed")
    EXPERIENCES_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    experiences: _containers.RepeatedCompositeFieldContainer[Experience]
    packed: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, experiences: _Optional[_Iterable[_Union[Experience, _Mapping]]] = ..., packed: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SubmitExperiencesResponse(_message.Message):
    __slots__ = ("accepted", "rejected", "errors")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    rejected: int
    errors: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, accepted: _Optional[int] = ..., rejected: _Optional[int] = ..., errors: _Optional[_Iterable[str]] = ...) -> None: ...

class GetExperienceStatsRequest(_message.Message):
    __slots__ = ("game_ids", "place_only", "max_message_bytes")
    GAME_IDS_FIELD_NUMBER: _ClassVar[int]
    PLACE_ONLY_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    game_ids: _containers.RepeatedScalarFieldContainer[str]
    place_only: bool
    max_message_bytes: int
    def __init__(self, game_ids: _Optional[_Iterable[str]] = ..., place_only: _Optional[bool] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

class GetExperienceStatsResponse(_message.Message):
    __slots__ = ("total_experiences", "total_games", "experiences_per_game", "experiences_per_player", "average_reward", "min_reward", "max_reward", "oldest_experience", "newest_experience", "stream_id", "first_sequence", "next_sequence", "consumers", "streams", "reward_deviation")
    class ExperiencesPerGameEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ExperiencesPerPlayerEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    TOTAL_EXPERIENCES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_GAMES_FIELD_NUMBER: _ClassVar[int]
    EXPERIENCES_PER_GAME_FIELD_NUMBER: _ClassVar[int]
    EXPERIENCES_PER_PLAYER_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_REWARD_FIELD_NUMBER: _ClassVar[int]
    MIN_REWARD_FIELD_NUMBER: _ClassVar[int]
    MAX_REWARD_FIELD_NUMBER: _ClassVar[int]
    OLDEST_EXPERIENCE_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EXPERIENCE_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    REWARD_DEVIATION_FIELD_NUMBER: _ClassVar[int]
    total_experiences: int
    total_games: int
    experiences_per_game: _containers.ScalarMap[str, int]
    experiences_per_player: _containers.ScalarMap[int, int]
    average_reward: float
    min_reward: float
    max_reward: float
    oldest_experience: _timestamp_pb2.Timestamp
    newest_experience: _timestamp_pb2.Timestamp
    stream_id: str
    first_sequence: int
    next_sequence: int
    consumers: int
    streams: _containers.RepeatedCompositeFieldContainer[StreamStatus]
    reward_deviation: float
    def __init__(self, total_experiences: _Optional[int] = ..., total_games: _Optional[int] = ..., experiences_per_game: _Optional[_Mapping[str, int]] = ..., experiences_per_player: _Optional[_Mapping[int, int]] = ..., average_reward: _Optional[float] = ..., min_reward: _Optional[float] = ..., max_reward: _Optional[float] = ..., oldest_experience: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., newest_experience: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stream_id: _Optional[str] = ..., first_sequence: _Optional[int] = ..., next_sequence: _Optional[int] = ..., consumers: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[StreamStatus, _Mapping]]] = ..., reward_deviation: _Optional[float] = ...) -> None: ...

class StreamStatus(_message.Message):
    __slots__ = ("peer", "next_sequence", "lag", "missed", "lag_seconds", "sent", "messages", "sent_bytes", "latency_seconds", "mean_latency_seconds", "policy", "max_lag", "dropped")
    PEER_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    LAG_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEAN_LATENCY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MAX_LAG_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    peer: str
    next_sequence: int
    lag: int
    missed: int
    lag_seconds: float
    sent: int
    messages: int
    sent_bytes: int
    latency_seconds: float
    mean_latency_seconds: float
    policy: str
    max_lag: int
    dropped: int
    def __init__(self, peer: _Optional[str] = ..., next_sequence: _Optional[int] = ..., lag: _Optional[int] = ..., missed: _Optional[int] = ..., lag_seconds: _Optional[float] = ..., sent: _Optional[int] = ..., messages: _Optional[int] = ..., sent_bytes: _Optional[int] = ..., latency_seconds: _Optional[float] = ..., mean_latency_seconds: _Optional[float] = ..., policy: _Optional[str] = ..., max_lag: _Optional[int] = ..., dropped: _Optional[int] = ...) -> None: ...

class RewardConfig(_message.Message):
    __slots__ = ("territory_gained", "territory_lost", "army_gained", "army_lost", "enemy_general_captured", "own_general_lost", "win_game", "lose_game", "city_captured", "city_lost")
    TERRITORY_GAINED_FIELD_NUMBER: _ClassVar[int]
    TERRITORY_LOST_FIELD_NUMBER: _ClassVar[int]
    ARMY_GAINED_FIELD_NUMBER: _ClassVar[int]
    ARMY_LOST_FIELD_NUMBER: _ClassVar[int]
    ENEMY_GENERAL_CAPTURED_FIELD_NUMBER: _ClassVar[int]
    OWN_GENERAL_LOST_FIELD_NUMBER: _ClassVar[int]
    WIN_GAME_FIELD_NUMBER: _ClassVar[int]
    LOSE_GAME_FIELD_NUMBER: _ClassVar[int]
    CITY_CAPTURED_FIELD_NUMBER: _ClassVar[int]
    CITY_LOST_FIELD_NUMBER: _ClassVar[int]
    territory_gained: float
    territory_lost: float
    army_gained: float
    army_lost: float
    enemy_general_captured: float
    own_general_lost: float
    win_game: float
    lose_game: float
    city_captured: float
    city_lost: float
    def __init__(self, territory_gained: _Optional[float] = ..., territory_lost: _Optional[float] = ..., army_gained: _Optional[float] = ..., army_lost: _Optional[float] = ..., enemy_general_captured: _Optional[float] = ..., own_general_lost: _Optional[float] = ..., win_game: _Optional[float] = ..., lose_game: _Optional[float] = ..., city_captured: _Optional[float] = ..., city_lost: _Optional[float] = ...) -> None: ...
