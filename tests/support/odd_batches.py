"""Makes batches with unusual contents, and edits their encoded bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import zstandard

from generals_env.engine.packed.packing import pack, unpack
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.encoding.batch_codec import CODEC, encode_batch
from generals_env.recorders.experience import EXPERIENCE
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe, Shaping
from support.builds import under_competition
from support.odd_boards import odd_boards, remembering


def odd_batch(rng: np.random.Generator, **options: Any) -> ExperienceBatch:
    """Return experiences of several games, between any boards, in any order."""
    count = int(rng.choice((0, 1, 7, 40)))
    boards = odd_boards(rng, 12, **options)
    if rng.random() < 0.4:
        np.clip(boards.army, -1024, 1023, out=boards.army)
    shape = int(boards.games[0]["height"]), int(boards.games[0]["width"])
    shaping = (Shaping(0.9, land=1.5), Shaping(1, cities=-2))[: rng.integers(3)]
    recipe = Recipe(str(rng.choice(("standard", "full"))), bool(rng.random() < 0.4), int(rng.choice((1, 2, 5))), shaping)
    packed = pack(boards)
    packed.entries["previous"] = np.where(rng.random(12) < 0.7, np.arange(12) - 1, -1)
    packed = remembering(packed, shape[0]) if recipe.memory else packed
    rows = np.zeros(count, EXPERIENCE)
    for name, high in {"game": 3, "state_index": 12, "next_state_index": 12, "action": 8 * shape[0] * shape[1] + 1}.items():
        rows[name] = rng.integers(0, high, count)
    rows["player_id"] = rng.integers(0, boards.players.shape[1], count)
    rows["sequence"] = rng.integers(-(2**63), 2**63 - 1, count) if rng.random() < 0.2 else 5 + np.arange(count)
    rows["collected_at"] = rng.integers(0, 2**62, count)
    rows["reward"], rows["steps"] = rng.normal(size=count), rng.integers(1, 2**15, count)
    for name in ("illegal", "terminated", "truncated"):
        rows[name] = rng.random(count) < 0.3
    dense = None
    if rng.random() < 0.3:
        kind = rng.choice(("float32", "uint8", "float16", ">i2", "bool"))
        observations = rng.integers(0, 200, (9, *rng.integers(0, 4, rng.integers(0, 4)))).astype(kind)
        dense = Dense(observations, *(rng.integers(0, 9, count).astype(np.int32) for _ in range(2)))
    metadata = {"seed": int(rng.integers(9)), "text": "ä\n", "deep": {"list": [1.5, None, True]}} if rng.random() < 0.5 else {}
    if rng.random() < 0.3:
        recipe = replace(recipe, builds=True)
        under_competition(packed, int(rng.choice((0, 800, 2**30))))
        builds = 8 * shape[0] * shape[1] + 1 + rng.integers(0, shape[0] * shape[1], count)
        rows["action"] = np.where(rng.random(count) < 0.5, builds, rows["action"])
    names = ("one", "zwei ü", "three" * 9)
    return ExperienceBatch(names, rows, packed, shape, recipe, dense, metadata)


def contents(batch: ExperienceBatch) -> dict[str, Any]:
    """Return all contents of a batch, independent of the order of its boards."""
    found: dict[str, Any] = {name: batch.rows[name].copy() for name in EXPERIENCE.names or () if "index" not in name}
    for name, index in (("before", batch.state_index), ("after", batch.next_state_index)):
        previous = batch.boards.entries["previous"][index]
        found[name] = unpack(batch.boards, index)
        found[f"{name}, links"] = previous < 0
        found[f"{name}, previous"] = unpack(batch.boards, previous[previous >= 0])
        found[f"{name}, memory"] = batch.boards.memory[index] if len(batch.boards.memory) else None
        found[f"{name}, dense"] = batch.dense.observations[getattr(batch.dense, name)] if batch.dense else None
    found |= {item.name: getattr(batch, item.name) for item in fields(batch) if item.name not in ("rows", "boards", "dense")}
    return {name: tuple(value) if isinstance(value, tuple) else value for name, value in found.items()}


def simple() -> ExperienceBatch:
    """Return a batch with a bit of everything but builds."""
    made = (odd_batch(np.random.default_rng(seed), players=3, shape=(4, 5)) for seed in range(99))
    batch = next(b for b in made if len(b) == 40 and len(b.boards.armies) > 1 and not b.recipe.builds)
    places = (np.arange(40, dtype=np.int32) % 9, np.arange(3, 43, dtype=np.int32) % 9)
    dense = Dense(np.random.default_rng(1).random((9, 2, 2), np.float32), *places)
    return replace(batch, boards=remembering(batch.boards, 4), dense=dense, recipe=Recipe("standard", memory=True))


def edited(batch: ExperienceBatch, change: Callable[[dict[str, Any]], Any], rest: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return the bytes of a batch with another header, and maybe other arrays, correct in everything else."""
    text = zstandard.decompress(encode_batch(batch))
    start = 4 + int.from_bytes(text[:4], "little")
    header = json.loads(text[4:start])
    result = change(header)
    written = json.dumps(header if result is None else result).encode()
    return zstandard.compress(len(written).to_bytes(4, "little") + written + rest(text[start:]))


def put(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda header: header.update({name: value})


def count(k: int, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda header: header["counts"].__setitem__(k, value)


HUGE = 10**11


CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    *(count(k, value) for k in range(5) for value in (-1, 0, 39, 2**28, HUGE, 2**70, "a", None, [1])),
    *(put("counts", value) for value in (None, [], [1] * 4, [0] * 6, "40", [[40]] * 5)),
    *(put("shape", value) for value in ((5, 4), (-4, -5), (4, -5), (0, 20), (1, 21), (4,), (4, 5, 1), (HUGE, HUGE), "4", None)),
    *(put("players", value) for value in (0, -3, 2, 4, 17, HUGE, "three", None)),
    *(put("codec", value) for value in (0, CODEC + 1, -1, None, "1.0", [CODEC])),
    *(put("recipe", value) for value in (None, {}, [], {"layout": "large"}, "standard")),
    *(
        put("dense", value)
        for value in (None, [], ["<f4"], ["|O", [9]], ["i4,O", [9]], ["|V0", [9]], ["<f4", [HUGE] * 3], ["x", [9]])
    ),
    *(put("dense", [kind, [9, *rest]]) for kind in ("<f8", "|u1") for rest in ((-1, -1), (2**62, 4), ("a",))),
    *(put("game_ids", value) for value in (None, [], ["one"], [1, 2, 3], [None] * 3, 5)),
    *(put("metadata", value) for value in (None, [1], 7, "text")),
    *(
        lambda header, name=name: header.pop(name) and None
        for name in ("codec", "shape", "players", "counts", "dense", "recipe")
    ),
    *(lambda header, value=value: value for value in ([], "text", 5, [[]] * 9)),
]


def digests(batch: ExperienceBatch) -> list[str]:
    """Return hashes of the tensors for a learner and of the columns."""
    columns = b"".join(np.ascontiguousarray(batch.rows[name]).tobytes() for name in EXPERIENCE.names or ())
    arrays = (batch.states().tobytes(), batch.next_action_masks().tobytes(), columns + batch.turn.tobytes())
    return [hashlib.sha256(data).hexdigest()[:16] for data in arrays]
