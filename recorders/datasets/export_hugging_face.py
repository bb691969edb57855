"""Exports experience as a Hugging Face dataset: Parquet files and a dataset card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from generals_env.errors import ConfigError
from generals_env.recorders.datasets.export_common import alike, appearing
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["to_hugging_face"]


FILE_BYTES = 2**28  # memory of the batches that become one Parquet file

#: Descriptions of the columns of a Parquet file, for the card.
COLUMNS = {
    "game_id": "id of the game",
    "turn": "the board's turn before the action",
    "sequence": "number of the experience, gapless for each recorder",
    "state_index": "board before the turn, among those of the row group",
    "next_state_index": "board after the turn, among those of the row group",
    "action": "index executed: `(row*W + column)*4 + direction`, `+ H*W*4` sends half, `H*W*8` passes, "
    "`H*W*8 + 1 + row*W + column` builds (rules of the competition)",
    "reward": "the player's reward for the turn",
    "steps": "how many turns lie between state and next state",
    "player_id": "the player whose experience it is",
    "illegal": "whether the action asked for was illegal; the player passed then",
    "terminated": "whether the game ended for the player with this turn",
    "truncated": "whether the game was cut off after this turn",
    "collected_at": "when it was recorded, in nanoseconds since 1970, UTC",
    "before": "observation before the turn, among those of the row group",
    "after": "observation after the turn, among those of the row group",
    "boards": "boards that no row before this one in the group needs; `tiles` are `army << bits \\| owner + 6`, int16",
    "grounds": "parts that boards share: terrain, players, rules",
    "observations": "observations of the players, where they cannot be derived from the boards",
}


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
    """Write a folder that ``datasets.load_dataset(folder)`` reads, and that can be uploaded to the Hugging Face Hub unchanged.

    It has Parquet files as ``formats.parquet`` writes them, and the dataset card, ``README.md``. ``collected_at`` is an integer
    in them, as torch has no time type: all columns can be read ``with_format("torch")``. Memory use is that of the batches of
    one file.

    Args:
        batches: The experience.
        folder: The folder to write; it must not exist.
        shape: H and W of all boards, padding included; by default those of the first batch.
        name: The title of the card; by default the name of the folder.
        description: The text of the card.
        license_id: A license as the Hub names it, for example ``"cc-by-4.0"``.
        tags: The tags of the card.
        file_bytes: Memory of the batches that become one file, approximately.

    Returns:
        How many experiences were written.

    Raises:
        ConfigError: If batches differ in players, recipe or kind of observations, do not fit into ``shape``, or there are none.
        ImportError: Without pyarrow (``pip install "generals_env[storage]"``).
        StorageError: If the folder exists already, or cannot be written.
    """
    from generals_env.recorders.formats.parquet import SUFFIX, encode

    path, count = Path(folder), 0
    with appearing(path, "folder") as unfinished:
        (unfinished / "data").mkdir()
        for number, batch in enumerate(joined(alike(batches, shape), file_bytes)):
            file = unfinished / "data" / f"train-{number:05d}{SUFFIX}"
            file.write_bytes(encode(batch, integer_times=True))
            count += len(batch)
        if not count:
            raise ConfigError("batches: expected experience, got none: pass at least one batch that is not empty")
        head = {"pretty_name": name or path.name, "license": license_id, "tags": list(tags)}
        (unfinished / "README.md").write_text(card(head, description, file, count), encoding="utf-8")
    return count


def joined(batches: Iterator[ExperienceBatch], size: int) -> Iterator[ExperienceBatch]:
    """Yield batches concatenated to about ``size`` bytes each."""
    parts: list[ExperienceBatch] = []
    for batch in batches:
        parts.append(batch.compact())
        if sum(part.nbytes for part in parts) >= size:
            yield ExperienceBatch.concat(parts)
            parts = []
    if parts:
        yield ExperienceBatch.concat(parts)


def card(head: dict[str, Any], description: str, path: Path, count: int) -> str:
    """Return the text of a dataset card.

    Args:
        head: Fields for the Hub.
        description: The text.
        path: One of the files.
        count: How many experiences the dataset has.
    """
    from pyarrow import parquet

    head |= {
        "task_categories": ["reinforcement-learning"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    }
    # JSON values are valid YAML.
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items() if value is not None), "---", ""]
    lines += [f"# {head['pretty_name']}", "", description, "", f"{count:,} experiences, one a row.", ""]
    lines += [
        "Boards are stored in the first row that needs them, so keep the rows of a row group together. Tensors and masks:",
        "",
    ]
    lines += ["```python", "from pathlib import Path", "", "from generals_env.recorders.formats.parquet import decode", ""]
    lines += [f'batch = decode(Path("data/{path.name}").read_bytes())', "batch.states(), batch.action_masks()", "```", ""]
    lines += ["| Column | Type | Meaning |", "|---|---|---|"]
    for field in parquet.read_schema(path):
        kind = {"game_id": "string", "boards": "list", "grounds": "list", "observations": "list"}.get(field.name, field.type)
        lines.append(f"| `{field.name}` | {kind} | {COLUMNS[field.name]} |")
    return "\n".join([*lines, ""])
