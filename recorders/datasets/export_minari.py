"""Recorded experience as datasets that others know: of Minari, and of Hugging Face. A dataset is whole or not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from generals_env.errors import ConfigError
from generals_env.recorders.datasets.environment_spec import Origins
from generals_env.recorders.datasets.export_common import alike, appearing
from generals_env.recorders.experience import ExperienceBatch
from generals_env.version import __version__

__all__ = [
    "MinariExport",
    "to_minari",
]


@dataclass(frozen=True)
class MinariExport:
    """What became of the experience.

    Attributes:
        episodes: How many were written, one for each player of a game.
        steps: How many experiences they have.
        left_out: How many episodes are not there, as experience of them is missing.
    """

    episodes: int
    steps: int
    left_out: int


# --- Minari -----------------------------------------------------------------------------------------------------------


class EpisodeAssembler:
    """Experience of players whose games are not whole yet.

    Attributes:
        parts: What there is, by game and player.
    """

    def __init__(self) -> None:
        self.parts: dict[tuple[str, int], list[ExperienceBatch]] = {}
        self._ended: set[tuple[str, int]] = set()
        self._whole: set[tuple[str, int]] = set()

    def add(self, batch: ExperienceBatch) -> Iterator[ExperienceBatch]:
        """Add experience, and yield the whole course of every player for whom nothing is missing any more, in order."""
        order = np.lexsort((batch.turn, batch.player_id, batch.game))
        game, player = batch.game[order], batch.player_id[order]
        for index in np.split(order, 1 + np.flatnonzero((np.diff(game) != 0) | (np.diff(player) != 0))):
            part = batch.select(index)
            key = part.game_ids[0], int(part.player_id[0])
            if key in self._whole:
                continue  # a repeat
            self.parts.setdefault(key, []).append(part)
            if (part.terminated | part.truncated).any():
                self._ended.add(key)
            if key in self._ended and (course := in_order(self.parts[key])) is not None:
                self._whole.add(key)
                del self.parts[key]
                yield course


def in_order(parts: list[ExperienceBatch]) -> ExperienceBatch | None:
    """Return a player's experience from turn 0 to the end of the game, each turn once, or None if some is missing."""
    turns, first = np.unique(np.concatenate([part.turn for part in parts]), return_index=True)
    if len(turns) != turns[-1] + 1:
        return None
    course = ExperienceBatch.concat(parts).select(first)
    return course if course.terminated[-1] or course.truncated[-1] else None


def spaces_of(batch: ExperienceBatch) -> tuple[spaces.Dict, spaces.Discrete]:
    """Return the spaces of observations and actions."""
    actions = 8 * batch.shape[0] * batch.shape[1] + 1
    seen = spaces.Box(0.0, 1.0, batch.state_shape, np.float32)
    if batch.dense is not None:
        dtype: Any = batch.dense.observations.dtype.newbyteorder("=")
        if dtype.kind not in "iuf":
            raise ConfigError(f"batches: expected observations that are numbers, got {dtype}")
        low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        seen = spaces.Box(low, high, batch.state_shape, dtype.type)
    mask = spaces.Box(0, 1, (actions,), np.int8)
    return spaces.Dict({"observation": seen, "action_mask": mask}), spaces.Discrete(actions)


def with_last(states: npt.NDArray[Any], last: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what was seen in T turns and after the last of them, (T + 1, ...)."""
    seen = np.concatenate([states, last])
    return seen.astype(seen.dtype.newbyteorder("="), copy=False)


def to_minari(
    batches: Iterable[ExperienceBatch],
    dataset_id: str,
    *,
    shape: tuple[int, int] | None = None,
    author: str | None = None,
    author_email: str | None = None,
    description: str | None = None,
    algorithm_name: str | None = None,
    code_permalink: str | None = None,
) -> MinariExport:
    """Write a Minari dataset, which ``minari.load_dataset(dataset_id)`` then loads.

    An episode is what one player lived through in one game, from turn 0 to his end: T + 1 observations, dicts of
    ``"observation"`` and ``"action_mask"`` as the environment gave them, T actions, rewards (as the learner was given them),
    terminations and truncations. Its metadata tell ``game_id`` and ``player_id``. A course of which turns are missing, the
    first and the last included, is left out and counted; a turn that comes twice counts once.

    ``recover_environment()`` of the dataset gives ``Generals-v0`` with the options that were recorded, under the package's
    wrappers that were; the built-in policy that played the other seats plays them again. Where recordings differ in an option,
    its default holds. There is no environment where wrappers of others changed the observations.

    Batches may hold parts of many games, in any order. Memory is that of the boards of all games that are not whole yet, and
    of the tensors of one episode.

    Args:
        batches: The experience, of one turn each.
        dataset_id: As Minari names datasets: ``name-v0`` or ``namespace/name-v0``.
        shape: H and W of all boards, padding included; those of the first batch without.
        author: Who made it.
        author_email: How to reach the author.
        description: What it is.
        algorithm_name: Who played.
        code_permalink: Where the code is.

    Raises:
        ConfigError: If the id is none, or batches differ in players, recipe or kind of observations, do not fit into
            ``shape``, or have no whole episode, or experiences span several turns.
        ImportError: Without minari and pyarrow (``pip install "generals_env[minari,storage]"``).
        StorageError: If there is a dataset of this id already, or it cannot be written.
    """
    try:
        import minari
        import pyarrow as pa  # noqa: F401 - Minari writes Parquet with it
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_dataset import parse_dataset_id
        from minari.dataset.minari_storage import MinariStorage
        from minari.namespace import create_namespace, list_local_namespaces
        from minari.storage import get_dataset_path
    except ImportError as error:
        raise ImportError(f'to_minari: expected minari, got {error}: pip install "generals_env[minari,storage]"') from None
    try:
        namespace = parse_dataset_id(dataset_id)[0]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"dataset_id: expected a name such as generals/random-v0, got {dataset_id!r} ({error})") from error
    told = {
        "dataset_id": dataset_id,
        "minari_version": minari.__version__,
        "author": None if author is None else {author},
        "author_email": None if author_email is None else {author_email},
        "description": description,
        "algorithm_name": algorithm_name,
        "code_permalink": code_permalink,
    }
    courses, origins, names, steps = EpisodeAssembler(), Origins(), [], 0

    def buffers(parts: Iterator[ExperienceBatch]) -> Iterator[Any]:
        nonlocal steps
        for part in parts:
            origins.add(part)
            if (part.steps != 1).any():
                raise ConfigError(f"batches: expected experiences of one turn, got some of {part.steps.max()}")
            for course in courses.add(part):
                names.append({"game_id": course.game_ids[0], "player_id": int(course.player_id[0])})
                steps += len(course)
                last = course.slice(len(course) - 1, len(course))
                yield EpisodeBuffer(
                    observations={
                        "observation": with_last(course.states(), last.next_states()),
                        "action_mask": with_last(course.action_masks(), last.next_action_masks()),
                    },
                    actions=course.action.astype(np.int64),
                    rewards=course.rewards(),
                    terminations=course.terminated,
                    truncations=course.truncated,
                )

    parts = alike(batches, shape)
    first = next(parts, None)
    if first is None:
        raise ConfigError("batches: expected experience, got none")
    like = first.slice(0, 1).compact()
    with appearing(Path(get_dataset_path(dataset_id)), "dataset_id") as folder:
        storage = MinariStorage.new(folder / "data", *spaces_of(like), data_format="parquet", jpeg_encoding=False)
        storage.update_metadata({name: value for name, value in told.items() if value is not None})
        storage.update_episodes(buffers(chain([first], parts)))
        if not names:
            raise ConfigError(f"batches: expected a whole episode, got parts of {len(courses.parts)}")
        storage.update_episode_metadata(names)
        spec = origins.spec(like)
        if spec is not None:
            storage.update_metadata({"env_spec": spec.to_json(), "requirements": [f"generals_env>={__version__}"]})
        if namespace is not None and namespace not in list_local_namespaces():
            create_namespace(namespace)
    return MinariExport(len(names), steps, len(courses.parts))
