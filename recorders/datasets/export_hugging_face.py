"""Exports experience as datasets of Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from generals_env.errors import ConfigError
from generals_env.recorders.datasets.export_common import alike, appearing
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["to_hugging_face"]


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
