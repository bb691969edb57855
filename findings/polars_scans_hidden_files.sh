#!/bin/sh
# Polars 2.1.0: scan_parquet(folder) takes every file of the folder, also hidden ones, for a part of the table. One small hidden
# file beside valid Parquet files ends the scan with
#   InvalidOperationError: directory contained paths with different file extensions
# Empty files are passed over. This script fails once that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet polars==2.1.0
"$folder/venv/bin/python" - "$folder/table" <<'PYTHON'
import pathlib, sys

import polars

place = pathlib.Path(sys.argv[1])
place.mkdir()
polars.DataFrame({"x": [1, 2, 3]}).write_parquet(place / "a.parquet")
(place / ".empty.lock").touch()
assert len(polars.scan_parquet(place).collect()) == 3
(place / ".notes.json").write_text("{}")
try:
    rows = len(polars.scan_parquet(place).collect())
except polars.exceptions.InvalidOperationError as error:
    assert "different file extensions" in str(error), error
    print("as seen:", str(error).splitlines()[0])
else:
    sys.exit(f"changed: hidden files are passed over now, {rows} rows")
PYTHON
