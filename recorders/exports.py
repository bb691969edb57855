"""Recorded experience as datasets that others know: of Minari, and of Hugging Face. A dataset is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from generals_env.errors import ConfigError, GeneralsError, StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.filesystem.atomic_files import make_folder, unfinished_folder
from generals_env.recorders.filesystem.leftovers import leftovers_beside, remove
from generals_env.recorders.origins import Origins
from generals_env.version import __version__

__all__ = ["MinariExport", "to_hugging_face", "to_minari"]

FILE_BYTES = 2**28  # about as much memory do the batches of a Parquet file take

#: What the columns of a Parquet file mean.
COLUMNS = {
    "game_id": "which game",
    "turn": "the board's turn before the action",
    "sequence": "number of the experience, gapless for each recorder",
    "state_index": "board before the turn, among those of the row group",
    "next_state_index": "board after the turn, among those of the row group",
    "action": "index executed: `(row*W + column)*4 + direction`, `+ H*W*4` sends half, the last one passes",
    "reward": "what the player got for it",
    "steps": "how many turns lie between state and next state",
    "player_id": "whose experience it is",
    "illegal": "whether the action asked for was illegal; the player passed then",
    "terminated": "whether the game ended for the player with this turn",
    "truncated": "whether it was cut off after this turn",
    "collected_at": "when, in nanoseconds since 1970, UTC",
    "before": "observation before the turn, among those of the row group",
    "after": "observation after the turn, among those of the row group",
    "boards": "boards that no row before this one in the group needs; `tiles` are `army << bits \\| owner + 6`, int16",
    "grounds": "what these boards have in common: terrain, players, rules",
    "observations": "what the players were shown, where it does not follow from the boards",
}


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


def alike(batches: Iterable[ExperienceBatch], shape: tuple[int, int] | None) -> Iterator[ExperienceBatch]:
    """Yield batches padded to one shape, that of the first one without; raise ``ConfigError`` if they differ otherwise."""
    first = None
    for batch in batches:
        if not len(batch):
            continue
        shape = shape or batch.shape
        part = batch.padded(*shape)
        kind = part.dense.observations.dtype if part.dense is not None else np.dtype(np.float32)
        told = f"{part.players} players, observations {part.state_shape} {kind}, {part.recipe}"
        first = first or told
        if told != first:
            raise ConfigError(f"batches: expected {first}, got {told}")
        yield part


@contextmanager
def appearing(place: Path, argument: str) -> Iterator[Path]:
    """Lend an empty folder that takes its place when all has gone well, and is gone when not.

    Raises:
        StorageError: If there is something in its place already, or it cannot be written.
    """
    try:
        if place.exists():
            raise StorageError(f"{argument}: expected a place where nothing is yet, got {str(place)!r}")
        make_folder(place.parent)
        remove(leftovers_beside(place))
        with unfinished_folder(place) as folder:
            yield folder
    except GeneralsError:
        raise
    except OSError as error:
        raise StorageError(f"{argument}: expected to write to {str(place)!r}, got {error}") from error


# --- Minari -----------------------------------------------------------------------------------------------------------


class Courses:
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
    courses, origins, names, steps = Courses(), Origins(), [], 0

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


# --- Hugging Face -----------------------------------------------------------------------------------------------------


def to_hugging_face(
    batches: Iterable[ExperienceBatch],
    folder: str | Path,
    *,
    shape: tuple[int, int] | None = None,
    name: str | None = None,
    description: str = "Games of Generals, recorded with generals_env.",
    license_id: str | None = None,
    tags: Iterable[str] = ("generals.io",),
    file_bytes: int = FILE_BYTES,
) -> int:
    """Write a folder that ``datasets.load_dataset(folder)`` reads, and that can be uploaded to the Hugging Face Hub as it is.

    It has Parquet files as ``formats.parquet`` writes them, and the card of the dataset, ``README.md``. ``collected_at`` is an
    integer in them, as torch knows no times: all rows and columns go through ``with_format("torch")``. Memory is that of the
    batches of one file.

    Args:
        batches: The experience.
        folder: Where to; it is made, and must not be there.
        shape: H and W of all boards, padding included; those of the first batch without.
        name: What the card calls the dataset; the name of the folder without.
        description: What the card says of it.
        license_id: As the Hub names licenses, such as ``"cc-by-4.0"``.
        tags: Of the card.
        file_bytes: About as much memory the batches of one file take.

    Returns:
        How many experiences were written.

    Raises:
        ConfigError: If batches differ in players, recipe or kind of observations, do not fit into ``shape``, or there are none.
        ImportError: Without pyarrow (``pip install "generals_env[storage]"``).
        StorageError: If the folder is there already, or cannot be written.
    """
    from generals_env.recorders.formats.parquet import SUFFIX, encode

    place, count = Path(folder), 0
    with appearing(place, "folder") as unfinished:
        (unfinished / "data").mkdir()
        for number, batch in enumerate(gathered(alike(batches, shape), file_bytes)):
            path = unfinished / "data" / f"train-{number:05d}{SUFFIX}"
            path.write_bytes(encode(batch, integer_times=True))
            count += len(batch)
        if not count:
            raise ConfigError("batches: expected experience, got none")
        head = {"pretty_name": name or place.name, "license": license_id, "tags": list(tags)}
        (unfinished / "README.md").write_text(card(head, description, path, count), encoding="utf-8")
    return count


def gathered(batches: Iterator[ExperienceBatch], size: int) -> Iterator[ExperienceBatch]:
    """Yield batches put together to about ``size`` bytes each."""
    parts: list[ExperienceBatch] = []
    for batch in batches:
        parts.append(batch.compact())
        if sum(part.nbytes for part in parts) >= size:
            yield ExperienceBatch.concat(parts)
            parts = []
    if parts:
        yield ExperienceBatch.concat(parts)


def card(head: dict[str, Any], description: str, path: Path, count: int) -> str:
    """Return the card of a dataset with files such as ``path``; ``head`` has what the Hub is to know."""
    from pyarrow import parquet

    head |= {
        "task_categories": ["reinforcement-learning"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    }
    # A value in JSON is one in YAML, too.
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items() if value is not None), "---", ""]
    lines += [f"# {head['pretty_name']}", "", description, "", f"{count:,} experiences, one a row.", ""]
    lines += ["Boards hang on the first row that needs them, so the rows of a group belong together. Tensors and masks:", ""]
    lines += ["```python", "from pathlib import Path", "", "from generals_env.recorders.formats.parquet import decode", ""]
    lines += [f'batch = decode(Path("data/{path.name}").read_bytes())', "batch.states(), batch.action_masks()", "```", ""]
    lines += ["| Column | Type | Meaning |", "|---|---|---|"]
    for field in parquet.read_schema(path):
        kind = {"game_id": "string", "boards": "list", "grounds": "list", "observations": "list"}.get(field.name, field.type)
        lines.append(f"| `{field.name}` | {kind} | {COLUMNS[field.name]} |")
    return "\n".join([*lines, ""])
