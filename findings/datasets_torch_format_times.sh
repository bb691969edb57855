#!/bin/sh
# datasets 5.2.0: with_format("torch") raises for each row of a table that has a column of timestamps:
#   TypeError: can't convert np.ndarray of type numpy.datetime64
# even if only other columns are used. Nanoseconds as int64 work. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 torch==2.13.0 pyarrow==26.0.1 numpy==2.4.6
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import datetime, sys

import datasets

now = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
table = datasets.Dataset.from_dict({"x": [1, 2], "at": [now, now]}).with_format("torch")
assert table.remove_columns("at")[0]["x"] == 1
try:
    table[0]
except TypeError as error:
    assert "datetime64" in str(error), error
    print("as seen:", error)
else:
    sys.exit("changed: timestamps work in the torch format now")
PYTHON
