"""Makes ``import recorders`` from a checkout's root the same as ``import generals_env.recorders``.

The two folders lie at the root of the repository and are packages inside ``generals_env``. Without this, importing one by its
folder's name would make a second copy of every class in it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["alias_package"]


class AliasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``alias.module`` as ``package.module``."""

    def __init__(self, alias: str, package: str) -> None:
        """Serve what lies below ``alias``."""
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
        """Return the module of the package itself."""
        module = importlib.import_module(self.package + spec.name[len(self.alias) :])
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing but undo what the import system just wrote: the module has run under its own name."""
        module.__spec__ = self._own_spec


def alias_package(alias: str, package: str) -> None:
    """Let ``alias`` and everything below it be ``package``, for the rest of the process."""
    sys.meta_path.insert(0, AliasFinder(alias, package))
    sys.modules[alias] = importlib.import_module(package)
