#!/bin/sh
# Polars 2.1.0: scan_parquet(folder) reads all files of the folder, also hidden ones, as data of the table. One small hidden file
# beside valid Parquet files makes the scan raise
#   InvalidOperationError: directory contained paths with different file extensions
# Empty files are ignored. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet polars==2.1.0
"$folder/venv/bin/python" - "$folder/table" <<'PYTHON'
import pathlib, sys

import polars

folder = pathlib.Path(sys.argv[1])
folder.mkdir()
polars.DataFrame({"x": [1, 2, 3]}).write_parquet(folder / "a.parquet")
(folder / ".empty.lock").touch()
assert len(polars.scan_parquet(folder).collect()) == 3
(folder / ".notes.json").write_text("{}")
try:
    rows = len(polars.scan_parquet(folder).collect())
except polars.exceptions.InvalidOperationError as error:
    assert "different file extensions" in str(error), error
    print("as seen:", str(error).splitlines()[0])
else:
    sys.exit(f"changed: hidden files are ignored now, {rows} rows")
PYTHON
