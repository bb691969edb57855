"""Recorders: every transition into files, and back.

From the root of a checkout this folder can also be imported by its own name; that gives the very same objects.
"""

from __future__ import annotations

if __name__ == "generals_env.recorders":
    from generals_env.recorders.dataset import Dataset, open_dataset
    from generals_env.recorders.experience import ExperienceBatch
    from generals_env.recorders.recorder import ExperienceRecorder
    from generals_env.recorders.replays import RecordedReplays, record_replays
    from generals_env.recorders.sinks import Sink

    __all__ = [
        "Dataset",
        "ExperienceBatch",
        "ExperienceRecorder",
        "RecordedReplays",
        "Sink",
        "open_dataset",
        "record_replays",
    ]
else:
    from generals_env.checkout import alias_package

    alias_package(__name__, "generals_env.recorders")
