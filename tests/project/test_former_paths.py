"""Files and imports from before the modules moved into rooms still work, and say where things are now."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.paths import DATA

from generals_env.import_aliases import FORMER_MODULES, FORMER_NAMES
from generals_env.recorders import PrioritizedReplayBuffer

FOLDER = DATA / "before_rooms"
#: SHA-256 over what each buffer gave before the modules moved.
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@contextmanager
def former_paths() -> Iterator[None]:
    """Expect warnings that name the present paths."""
    with pytest.warns(DeprecationWarning, match=r"^generals_env\.\S+ is now generals_env\.\S+: use that path$"):
        yield


def load(name: str) -> object:
    # Safe: this package wrote the file.
    with former_paths():
        loaded: object = pickle.loads(gzip.decompress((FOLDER / f"{name}.pickle.gz").read_bytes()))
    return loaded


def digest(arrays: list[np.ndarray], names: list[str] | None = None) -> str:
    whole = hashlib.sha256()
    for number, array in enumerate(arrays):
        if names is not None:
            whole.update(names[number].encode())
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.startswith("sb3_")])
def test_former_sb3_buffer_gives_the_same_samples(name: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("stable_baselines3")
    np.random.seed(5)  # noqa: NPY002 - which SB3 draws with
    samples = load(name).sample(200)._asdict()  # type: ignore[attr-defined]
    arrays = {key: value.numpy() for key, value in samples.items() if isinstance(value, torch.Tensor)}
    arrays |= {f"obs_{key}": value.numpy() for key, value in samples["observations"].items()}
    assert digest([arrays[key] for key in sorted(arrays)], sorted(arrays)) == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name in EXPECTED if not name.startswith("sb3_")])
def test_former_replay_buffer_holds_the_same_experiences(name: str) -> None:
    held = load(name).snapshot()  # type: ignore[attr-defined]
    arrays = [held.states(), held.next_states(), held.action_masks(), held.action, held.rewards()]
    assert digest(arrays) == EXPECTED[name]


def test_former_saved_buffer_loads(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "saved", tmp_path / "saved")
    buffer = PrioritizedReplayBuffer(500)
    buffer.load(tmp_path / "saved")
    held = buffer.snapshot()
    arrays = [held.states(), held.next_states(), held.action_masks(), held.action, held.rewards()]
    assert digest(arrays) == EXPECTED["PrioritizedReplayBuffer_boards"]


@pytest.mark.parametrize("former", [name for name, now in FORMER_MODULES.items() if now])
def test_former_module_hands_on_all_names_of_the_present_one(former: str) -> None:
    module, now = importlib.import_module(former), importlib.import_module(FORMER_MODULES[former])
    names = {name for path, name in FORMER_NAMES if path == former}
    for name in set(now.__all__) - names:
        with former_paths():
            assert getattr(module, name) is getattr(now, name)
    for name in names:
        home, _, present = FORMER_NAMES[former, name].partition(":")
        with former_paths():
            assert getattr(module, name) is getattr(importlib.import_module(home), present)
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018
