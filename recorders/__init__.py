"""Records every transition into files, logs, buffers and streams, and reads it back.

From the root of a checkout this folder can also be imported as ``recorders``, with the same objects.
"""

from __future__ import annotations

if __name__ == "generals_env.recorders":
    import importlib
    from typing import TYPE_CHECKING, Any

    from generals_env.recorders.buffers.mix_schedule import MixSchedule
    from generals_env.recorders.buffers.mixed_sampler import MixedSample, MixedSampler
    from generals_env.recorders.buffers.prioritized import PrioritizedReplayBuffer, PrioritizedSample
    from generals_env.recorders.buffers.replay_buffer import BufferStats, ReplayBuffer
    from generals_env.recorders.datasets.dataset import Dataset, open_dataset
    from generals_env.recorders.experience import ExperienceBatch
    from generals_env.recorders.experience.recipe import Recipe, Shaping
    from generals_env.recorders.experience.sink import Sink
    from generals_env.recorders.experience.tensors import Tensors
    from generals_env.recorders.people.human_replays import RecordedReplays, record_replays
    from generals_env.recorders.recording.base import ExperienceRecorder

    if TYPE_CHECKING:
        from generals_env.recorders.buffers.sb3_buffer import BoardReplayBuffer
        from generals_env.recorders.buffers.spill_buffer import SpillBuffer
        from generals_env.recorders.datasets.export_hugging_face import to_hugging_face
        from generals_env.recorders.datasets.export_minari import to_minari
        from generals_env.recorders.datasets.torch_datasets import BoardDataset, StreamDataset
        from generals_env.recorders.datasets.verify import repair_dataset, verify_dataset
        from generals_env.recorders.datasets.writer import DatasetWriter
        from generals_env.recorders.encoding.compression_level import AdaptiveLevel
        from generals_env.recorders.experience.torch_tensors import TorchTensors
        from generals_env.recorders.filesystem.retry import Retry
        from generals_env.recorders.log import ExperienceLog
        from generals_env.recorders.sinks.buffered import BufferedSink, BufferedSinkStats
        from generals_env.recorders.sinks.deduplicating import DeduplicatingSink
        from generals_env.recorders.sinks.insert_limiter import InsertLimiter, LimitedSink
        from generals_env.recorders.sinks.insert_limits import InsertCounts, InsertLimits
        from generals_env.recorders.sinks.multi import MultiSink
        from generals_env.recorders.sinks.retrying import RetryingSink
        from generals_env.recorders.sinks.validating import ValidatingSink, Validator
        from generals_env.recorders.stream.client.background_reader import BackgroundReader
        from generals_env.recorders.stream.client.consumer import ExperienceConsumer
        from generals_env.recorders.stream.client.position import Position
        from generals_env.recorders.stream.client.submitting_sink import SubmittingSink
        from generals_env.recorders.stream.server.limits import Limits
        from generals_env.recorders.stream.server.server import ExperienceServer
        from generals_env.recorders.stream.server.stream_defaults import StreamDefaults
        from generals_env.recorders.training.config import TrainerConfig
        from generals_env.recorders.training.device_policy import DevicePolicy
        from generals_env.recorders.training.network_policy import load_policy
        from generals_env.recorders.training.q_network import QNetwork
        from generals_env.recorders.training.trainer import DistributedTrainer

    __all__ = [
        "AdaptiveLevel",
        "BackgroundReader",
        "BoardDataset",
        "BoardReplayBuffer",
        "BufferStats",
        "BufferedSink",
        "BufferedSinkStats",
        "Dataset",
        "DatasetWriter",
        "DeduplicatingSink",
        "DevicePolicy",
        "DistributedTrainer",
        "ExperienceBatch",
        "ExperienceConsumer",
        "ExperienceLog",
        "ExperienceRecorder",
        "ExperienceServer",
        "InsertCounts",
        "InsertLimiter",
        "InsertLimits",
        "LimitedSink",
        "Limits",
        "MixSchedule",
        "MixedSample",
        "MixedSampler",
        "MultiSink",
        "Position",
        "PrioritizedReplayBuffer",
        "PrioritizedSample",
        "QNetwork",
        "Recipe",
        "RecordedReplays",
        "ReplayBuffer",
        "Retry",
        "RetryingSink",
        "Shaping",
        "Sink",
        "SpillBuffer",
        "StreamDataset",
        "StreamDefaults",
        "SubmittingSink",
        "Tensors",
        "TorchTensors",
        "TrainerConfig",
        "ValidatingSink",
        "Validator",
        "load_policy",
        "open_dataset",
        "record_replays",
        "repair_dataset",
        "to_hugging_face",
        "to_minari",
        "verify_dataset",
    ]

    # Modules of names that are imported on first use, as they need extras or take long to import.
    _HOMES = {
        "AdaptiveLevel": "encoding.compression_level",
        "BackgroundReader": "stream.client.background_reader",
        "BoardDataset": "datasets.torch_datasets",
        "BoardReplayBuffer": "buffers.sb3_buffer",
        "BufferedSink": "sinks.buffered",
        "BufferedSinkStats": "sinks.buffered",
        "DatasetWriter": "datasets.writer",
        "DeduplicatingSink": "sinks.deduplicating",
        "DevicePolicy": "training.device_policy",
        "DistributedTrainer": "training.trainer",
        "ExperienceConsumer": "stream.client.consumer",
        "ExperienceLog": "log",
        "ExperienceServer": "stream.server.server",
        "InsertCounts": "sinks.insert_limits",
        "InsertLimiter": "sinks.insert_limiter",
        "InsertLimits": "sinks.insert_limits",
        "LimitedSink": "sinks.insert_limiter",
        "Limits": "stream.server.limits",
        "MultiSink": "sinks.multi",
        "Position": "stream.client.position",
        "QNetwork": "training.q_network",
        "Retry": "filesystem.retry",
        "RetryingSink": "sinks.retrying",
        "SpillBuffer": "buffers.spill_buffer",
        "StreamDataset": "datasets.torch_datasets",
        "SubmittingSink": "stream.client.submitting_sink",
        "StreamDefaults": "stream.server.stream_defaults",
        "TorchTensors": "experience.torch_tensors",
        "TrainerConfig": "training.config",
        "ValidatingSink": "sinks.validating",
        "Validator": "sinks.validating",
        "load_policy": "training.network_policy",
        "repair_dataset": "datasets.verify",
        "to_hugging_face": "datasets.export_hugging_face",
        "to_minari": "datasets.export_minari",
        "verify_dataset": "datasets.verify",
    }

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
else:
    from generals_env.import_aliases import alias_package

    alias_package(__name__, "generals_env.recorders")
