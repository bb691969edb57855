"""Exports experience as a Minari dataset of episodes."""

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
from generals_env.recorders.datasets.episode_assembler import EpisodeAssembler
from generals_env.recorders.datasets.export_common import alike, appearing
from generals_env.recorders.experience import ExperienceBatch
from generals_env.version import __version__

__all__ = ["MinariExport", "to_minari"]


@dataclass(frozen=True)
class MinariExport:
    """How much was exported.

    Attributes:
        episodes: How many episodes were written, one for each player of a game.
        steps: How many experiences they have.
        left_out: How many episodes were not written, because turns of them are missing.
    """

    episodes: int
    steps: int
    left_out: int


def spaces_of(batch: ExperienceBatch) -> tuple[spaces.Dict, spaces.Discrete]:
    """Return the spaces of observations and actions of an export that begins with ``batch``."""
    actions = batch.recipe.actions(batch.shape)
    observations = spaces.Box(0.0, 1.0, batch.state_shape, np.float32)
    if batch.dense is not None:
        dtype: Any = batch.dense.observations.dtype.newbyteorder("=")
        if dtype.kind not in "iuf":
            raise ConfigError(
                f"batches: expected observations that are numbers, got {dtype}: convert them before they are recorded"
            )
        low, high = (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        observations = spaces.Box(low, high, batch.state_shape, dtype.type)
    mask = spaces.Box(0, 1, (actions,), np.int8)
    return spaces.Dict({"observation": observations, "action_mask": mask}), spaces.Discrete(actions)


def with_last(states: npt.NDArray[Any], last: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the observations, or masks, of T turns and of the board after the last turn, (T + 1, ...)."""
    both = np.concatenate([states, last])
    return both.astype(both.dtype.newbyteorder("="), copy=False)


class EpisodeBuffers:
    """Makes episode buffers of Minari from batches.

    Attributes:
        metadata: Game and player of each episode so far.
        steps: How many experiences they have.
        assembler: Holds the episodes that are not whole.
        origins: The environments of the batches so far.
    """

    def __init__(self, batches: Iterator[ExperienceBatch]) -> None:
        """Make episodes of ``batches``."""
        self.metadata: list[dict[str, Any]] = []
        self.steps = 0
        self.assembler = EpisodeAssembler()
        self.origins = Origins()
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        """Yield each episode when it is whole; raise ``ConfigError`` if experiences span several turns."""
        for batch in self._batches:
            self.origins.add(batch)
            if (batch.steps != 1).any():
                raise ConfigError(
                    f"batches: expected experiences of one turn, got some of {batch.steps.max()}: export them before n_step()"
                )
            for episode in self.assembler.add(batch):
                self.metadata.append({"game_id": episode.game_ids[0], "player_id": int(episode.player_id[0])})
                self.steps += len(episode)
                yield buffer_of(episode)


def buffer_of(episode: ExperienceBatch) -> Any:
    """Return an episode as Minari's ``EpisodeBuffer``."""
    from minari.data_collector import EpisodeBuffer

    last = episode.slice(len(episode) - 1, len(episode))
    return EpisodeBuffer(
        observations={
            "observation": with_last(episode.states(), last.next_states()),
            "action_mask": with_last(episode.action_masks(), last.next_action_masks()),
        },
        actions=episode.action.astype(np.int64),
        rewards=episode.rewards(),
        terminations=episode.terminated,
        truncations=episode.truncated,
    )


def namespace_of(dataset_id: str) -> str | None:
    """Return the namespace in the id of a dataset, None if it has none.

    Raises:
        ConfigError: If Minari takes no such id.
        ImportError: Without minari and pyarrow.
    """
    try:
        import pyarrow as pa  # noqa: F401 - Minari writes Parquet with it
        from minari.dataset.minari_dataset import parse_dataset_id
    except ImportError as error:
        raise ImportError(f'to_minari: expected minari, got {error}: pip install "generals_env[minari,storage]"') from None
    try:
        namespace: str | None = parse_dataset_id(dataset_id)[0]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"dataset_id: expected a name like generals/random-v0, got {dataset_id!r} ({error})") from error
    return namespace


def write_dataset(folder: Path, first: ExperienceBatch, episodes: EpisodeBuffers, about: dict[str, Any]) -> None:
    """Write episodes and their metadata into an empty folder.

    Args:
        folder: The folder.
        first: One of the batches.
        episodes: The episodes.
        about: Metadata of the dataset; those that are None are left out.

    Raises:
        ConfigError: If there is no whole episode.
    """
    from minari.dataset.minari_storage import MinariStorage

    like = first.slice(0, 1).compact()
    storage = MinariStorage.new(folder / "data", *spaces_of(like), data_format="parquet", jpeg_encoding=False)
    storage.update_metadata({name: value for name, value in about.items() if value is not None})
    storage.update_episodes(iter(episodes))
    if not episodes.metadata:
        raise ConfigError(
            f"batches: expected a whole episode, got parts of {len(episodes.assembler.incomplete)}: record games to their end"
        )
    storage.update_episode_metadata(episodes.metadata)
    spec = episodes.origins.spec(like)
    if spec is not None:
        storage.update_metadata({"env_spec": spec.to_json(), "requirements": [f"generals_env>={__version__}"]})


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

    An episode is the experience of one player in one game, from turn 0 to the player's end: T + 1 observations, dicts of
    ``"observation"`` and ``"action_mask"`` as the environment returned them, T actions, rewards (those of the learner),
    terminations and truncations. Its metadata have ``game_id`` and ``player_id``. An episode with missing turns, also the
    first or the last, is left out and counted; a turn that occurs twice is written once.

    ``recover_environment()`` of the dataset returns ``Generals-v0`` with the recorded options and the package's wrappers; the
    built-in policy that played the other seats plays them again. Where recordings differ in an option, its default is used.
    There is no environment if wrappers that are not of this package changed the observations.

    Batches may hold parts of many games, in any order. Memory use is that of the boards of all games that are not whole yet,
    and of the tensors of one episode.

    Args:
        batches: The experience, of one turn each.
        dataset_id: ``name-v0`` or ``namespace/name-v0``, as Minari names datasets.
        shape: H and W of all boards, padding included; by default those of the first batch.
        author: The author's name.
        author_email: The author's address.
        description: A text about the dataset.
        algorithm_name: The policy that played.
        code_permalink: URL of the code.

    Raises:
        ConfigError: If the id is malformed, or batches differ in players, recipe or kind of observations, do not fit into
            ``shape``, have no whole episode, or have experiences of several turns.
        ImportError: Without minari and pyarrow (``pip install "generals_env[minari,storage]"``).
        StorageError: If there is a dataset of this id already, or it cannot be written.
    """
    namespace = namespace_of(dataset_id)
    import minari
    from minari.namespace import create_namespace, list_local_namespaces
    from minari.storage import get_dataset_path

    about = {
        "dataset_id": dataset_id,
        "minari_version": minari.__version__,
        "author": None if author is None else {author},
        "author_email": None if author_email is None else {author_email},
        "description": description,
        "algorithm_name": algorithm_name,
        "code_permalink": code_permalink,
    }
    parts = alike(batches, shape)
    first = next(parts, None)
    if first is None:
        raise ConfigError("batches: expected experience, got none: pass at least one batch that is not empty")
    episodes = EpisodeBuffers(chain([first], parts))
    with appearing(Path(get_dataset_path(dataset_id)), "dataset_id") as folder:
        write_dataset(folder, first, episodes, about)
        if namespace is not None and namespace not in list_local_namespaces():
            create_namespace(namespace)
    return MinariExport(len(episodes.metadata), episodes.steps, len(episodes.assembler.incomplete))
