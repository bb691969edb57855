"""Makes modules importable under further paths: ``import recorders`` in a checkout, and former paths of moved modules.

The folders ``recorders`` and ``wrappers`` lie at the root of the repository and are packages inside ``generals_env``. Without
``alias_package``, importing one by the name of its folder would create a second copy of each class in it.

Pickles made before 0.1.0 contain former module paths, and the documentation named some: the modules in ``FORMER_MODULES`` stay
importable for one release, with a ``DeprecationWarning``.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

__all__ = ["FORMER_MODULES", "FORMER_NAMES", "alias_package", "find_former_modules"]

#: Former path of each moved module: its present path. A former package without a present module maps to an empty string.
FORMER_MODULES = {
    "generals_env.engine.batch": "generals_env.engine.simulation.batch",
    "generals_env.engine.incremental": "generals_env.engine.observations.incremental",
    "generals_env.engine.packing": "generals_env.engine.packed.packing",
    "generals_env.engine.recording": "generals_env.engine.packed.recording",
    "generals_env.engine.ring": "generals_env.engine.storage.experience_ring",
    "generals_env.engine.segments": "generals_env.engine.storage.game_segments",
    "generals_env.engine.tables": "generals_env.engine.storage.board_pool",
    "generals_env.face": "generals_env.pettingzoo_base",
    "generals_env.guard": "generals_env.concurrency.guard",
    "generals_env.interrupts": "generals_env.concurrency.interrupts",
    "generals_env.processes": "generals_env.concurrency.process_owner",
    "generals_env.recorders.buffer": "generals_env.recorders.buffers.replay_buffer",
    "generals_env.recorders.compressed_store": "generals_env.recorders.buffers.stores.zstd_store",
    "generals_env.recorders.game_store": "generals_env.recorders.buffers.stores.game_store",
    "generals_env.recorders.prioritized": "generals_env.recorders.buffers.prioritized",
    "generals_env.recorders.readers": "generals_env.recorders.buffers.reader_positions",
    "generals_env.recorders.recipe": "generals_env.recorders.experience.recipe",
    "generals_env.recorders.recording.human_replays": "generals_env.recorders.people.human_replays",
    "generals_env.recorders.ring_store": "generals_env.recorders.buffers.stores.board_store",
    "generals_env.recorders.sb3_buffer": "generals_env.recorders.buffers.sb3_buffer",
    "generals_env.recorders.storage": "",
    "generals_env.recorders.storage.retry": "generals_env.recorders.filesystem.retry",
    "generals_env.recorders.storage.stores": "generals_env.recorders.filesystem.file_stores",
    "generals_env.recorders.stream.asynchronous": "generals_env.recorders.stream.client.async_stream",
    "generals_env.recorders.stream.caching": "generals_env.recorders.stream.client.log_cache",
    "generals_env.recorders.stream.sharded": "generals_env.recorders.stream.client.sharded",
    "generals_env.recorders.validation": "generals_env.recorders.sinks.validating",
    "generals_env.render": "generals_env.rendering.image",
    "generals_env.specs": "generals_env.env_spec",
    "generals_env.wrappers.faces": "generals_env.wrappers.array_transform",
    "generals_env.wrappers.opponents": "generals_env.wrappers.builtin_policy",
}

#: Former module and name: present module and name, for names that changed or moved to another module than the rest.
FORMER_NAMES = {
    ("generals_env.engine.batch", "Outcome"): "generals_env.engine.simulation.turn_outcome:Outcome",
    ("generals_env.engine.batch", "Scratch"): "generals_env.engine.simulation.board_phases:Scratch",
    ("generals_env.engine.incremental", "Sets"): "generals_env.engine.observations.tile_sets:TileSets",
    ("generals_env.engine.incremental", "Views"): "generals_env.engine.observations.incremental:Observations",
    ("generals_env.render", "PLAYER_COLORS"): "generals_env.rendering.palette:PLAYER_COLORS",
    ("generals_env.render", "format_board"): "generals_env.rendering.text:format_board",
    ("generals_env.render", "save_gif"): "generals_env.rendering.gif:save_gif",
    ("generals_env.recorders.compressed_store", "Chunk"): "generals_env.recorders.buffers.stores.zstd_store:ZstdChunk",
    (
        "generals_env.recorders.compressed_store",
        "CompressedStore",
    ): "generals_env.recorders.buffers.stores.zstd_store:ZstdStore",
    ("generals_env.recorders.readers", "Readers"): "generals_env.recorders.buffers.reader_positions:ReaderPositions",
    ("generals_env.recorders.ring_store", "RingStore"): "generals_env.recorders.buffers.stores.board_store:BoardStore",
    ("generals_env.recorders.sb3_buffer", "JoiningStore"): "generals_env.recorders.buffers.sb3_store:LinkedBoardStore",
    ("generals_env.recorders.sb3_buffer", "TurnBuffer"): "generals_env.recorders.buffers.sb3_store:TurnBuffer",
    ("generals_env.recorders.sb3_buffer", "Turns"): "generals_env.recorders.buffers.sb3_turns:Turns",
    ("generals_env.wrappers.faces", "SingleWrapper"): "generals_env.wrappers.array_transform:SingleTransformWrapper",
    ("generals_env.wrappers.faces", "VectorFaceWrapper"): "generals_env.wrappers.array_transform:VectorTransformWrapper",
}


class AliasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports ``alias.module`` as ``package.module``."""

    def __init__(self, alias: str, package: str) -> None:
        """Handle the modules below ``alias``."""
        self.alias = alias
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a spec for modules below the alias."""
        if name.startswith(self.alias + "."):
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return the module of the package."""
        module = importlib.import_module(self.package + spec.name[len(self.alias) :])
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the module's own spec, which the import system just replaced; the module has been executed already."""
        module.__spec__ = self._own_spec


class FormerModule(ModuleType):
    """A module at its former path that looks up each name at its present path."""

    def __getattr__(self, name: str) -> Any:
        """Return ``name`` from its present module.

        Raises:
            AttributeError: If the present module has no such name.
        """
        module = FORMER_MODULES[self.__name__]
        if not module or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, _, now = FORMER_NAMES.get((self.__name__, name), f"{module}:{name}").partition(":")
        value = getattr(importlib.import_module(module), now)
        warnings.warn(f"{self.__name__}.{name} is now {module}.{now}: use that path", DeprecationWarning, stacklevel=2)
        return value


class FormerModuleFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the modules of ``FORMER_MODULES``."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a spec for a former path; a former package gets no folders, so its modules are found here, too."""
        if name not in FORMER_MODULES:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=not FORMER_MODULES[name])

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return a module that looks its names up at their present paths."""
        return FormerModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: names are looked up on access."""


def alias_package(alias: str, package: str) -> None:
    """Make ``alias`` and the modules below it the same objects as ``package``, for the rest of the process."""
    sys.meta_path.insert(0, AliasFinder(alias, package))
    sys.modules[alias] = importlib.import_module(package)


def find_former_modules() -> None:
    """Make former paths importable for the rest of the process; all other finders come first."""
    if not any(isinstance(finder, FormerModuleFinder) for finder in sys.meta_path):
        sys.meta_path.append(FormerModuleFinder())
