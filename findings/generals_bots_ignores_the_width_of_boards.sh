#!/bin/sh
# generals-bots 2.5.0: GridFactory(min_grid_dims=(rows, columns), max_grid_dims=(rows, columns)), documented as "height & width",
# draws the columns between the two numbers of rows, and never reads the numbers of columns. Boards of 10 to 12 rows and 20 to 24
# columns come out with 10 to 12 columns, without an error; only boards of equal sides are as asked for. Its agents play here as
# programs on boards of any sides. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet generals-bots==2.5.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from generals.core.grid import GridFactory

shapes = {GridFactory(min_grid_dims=(10, 20), max_grid_dims=(12, 24), seed=seed).generate().shape for seed in range(60)}
columns = sorted({columns for _, columns in shapes})
if columns != [10, 11, 12]:
    sys.exit(f"changed: boards of 20 to 24 columns have {columns}")
print("as seen: boards of 20 to 24 columns have", columns)
PYTHON
