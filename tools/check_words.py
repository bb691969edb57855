"""Finds words that this project's prose avoids, in docs, comments, docstrings, error texts and names of tests.

Usage: ``python tools/check_words.py [FILE...]``. Without files it checks all files of the checkout that git does not ignore.
It prints ``file:line: word`` for each hit, and exits with status 1 if it found any.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

#: Vague words. Name the thing instead: "the caller", "another thread", "no process", "the files in the folder".
WORDS = ("whoever", "somebody", "nobody", "none of ours", "what there is")
SUFFIXES = {".cff", ".md", ".proto", ".py", ".sh", ".toml", ".yaml", ".yml"}

# Words of a phrase may be joined by "_" in a name, or separated by a line break in a comment.
_GAP = r"[\s_#>*]+"
_PATTERN = re.compile(rf"(?<![^\W_])({'|'.join(word.replace(' ', _GAP) for word in WORDS)})(?![^\W_])", re.IGNORECASE)


def checked_files() -> list[Path]:
    """Return the files of the checkout in the current folder that git does not ignore and that exist."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [Path(name) for name in names if name and Path(name).is_file()]


def find_words(path: Path) -> list[tuple[int, str]]:
    """Return line number and text of each hit in one file."""
    text = path.read_text(encoding="utf-8")
    return [(text.count("\n", 0, hit.start()) + 1, " ".join(hit[0].split())) for hit in _PATTERN.finditer(text)]


def main(arguments: list[str]) -> int:
    """Check the given files, or all of the checkout, and return the exit status."""
    itself = Path(__file__).resolve()
    failed = False
    for path in map(Path, arguments) if arguments else checked_files():
        if path.suffix not in SUFFIXES or path.resolve() == itself:
            continue
        for line, word in find_words(path):
            failed = True
            print(f"{path}:{line}: {word!r} is vague: name the thing")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
