"""Copies the starting points for agents in other languages."""

from __future__ import annotations

from pathlib import Path

from generals_env.errors import ConfigError, StorageError

__all__ = ["LANGUAGES", "copy_starter"]

STARTERS = Path(__file__).with_name("starters")

#: Languages and their source files.
LANGUAGES = {"python": "agent.py", "cpp": "agent.cpp", "rust": "agent.rs"}


def copy_starter(language: str, folder: str | Path) -> list[Path]:
    """Write the agent of a language, its ``run.sh`` and a README to a folder, and return the files.

    Raises:
        ConfigError: If there is no such language.
        StorageError: If one of the files exists, or cannot be written.
    """
    if language not in LANGUAGES:
        raise ConfigError(f"language: expected one of {', '.join(LANGUAGES)}, got {language!r}")
    folder = Path(folder)
    source = LANGUAGES[language]
    copies = {source: source, "run.sh": f"run_{language}.sh", "README.md": "README.md"}
    if there := [name for name in copies if (folder / name).exists()]:
        raise StorageError(f"folder: expected none with {there[0]}, got {str(folder)!r}: choose another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, original in copies.items():
            (folder / name).write_bytes((STARTERS / original).read_bytes())
        (folder / "run.sh").chmod(0o755)
    except OSError as error:
        raise StorageError(f"folder: expected one that can be written, got {str(folder)!r} ({error})") from error
    return [folder / name for name in copies]
