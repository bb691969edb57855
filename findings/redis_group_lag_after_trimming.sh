#!/bin/sh
# Redis 7.0.15: the lag that XINFO GROUPS reports does not tell what a consumer group has missed.
# - After XDEL of an unread entry the lag is unknown (None in redis-py), until the group has read everything.
# - After XTRIM of unread entries the lag of a group that has read all the others stays above 0: it counts entries that are gone.
# - Trimming with the default MAXLEN ~ removes nothing from a stream of fewer entries than one node holds, 100.
# This script needs redis-server. It fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
redis-server --port 0 --unixsocket "$folder/socket" --save "" --dir "$folder" > "$folder/log" &
server=$!
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet redis==8.1.0
"$folder/venv/bin/python" - "$folder/socket" <<'PYTHON'
import sys

import redis

client = redis.Redis(unix_socket_path=sys.argv[1], protocol=2)
print("redis-py", redis.__version__, "Redis", client.info("server")["redis_version"])


def fill(name, count):
    client.xgroup_create(name, "g", "0", mkstream=True)
    return [client.xadd(name, {"a": "b"}) for _ in range(count)]


def lag(name):
    return client.xinfo_groups(name)[0]["lag"]


ids = fill("deleted", 10)
client.xreadgroup("g", "c", {"deleted": ">"}, count=2)
assert lag("deleted") == 8
client.xdel("deleted", ids[5])
print("lag after XDEL of one of 8 unread entries:", lag("deleted"))
assert lag("deleted") is None, "changed"

fill("trimmed", 10)
client.xreadgroup("g", "c", {"trimmed": ">"}, count=2)
client.xtrim("trimmed", maxlen=3, approximate=False)  # 5 unread entries are gone, 3 are left
read = client.xreadgroup("g", "c", {"trimmed": ">"})
assert len(read[0][1]) == 3
print("lag after XTRIM, when all that is left was read:", lag("trimmed"))
assert lag("trimmed") not in (0, None), "changed"

fill("many", 99)
assert client.xtrim("many", maxlen=10) == 0, "changed"
print("entries after XTRIM MAXLEN ~ 10 of 99:", client.xlen("many"))
print("as seen")
PYTHON
