#!/bin/sh
# redis-py 8.1.0 with Redis 7.0.15: AuthenticationError is a ConnectionError, and the default of a client tries a command again
# after a ConnectionError, with growing pauses. So a wrong password is sent many times before the error is raised, after seconds;
# each time is a failed login in the server's log of them. With retry=Retry(NoBackoff(), 0) it is sent once.
# This script needs redis-server. It fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
redis-server --port 0 --unixsocket "$folder/socket" --requirepass right --save "" --dir "$folder" > "$folder/log" &
server=$!
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet redis==8.1.0
"$folder/venv/bin/python" - "$folder/socket" <<'PYTHON'
import sys, time

import redis

right = redis.Redis(unix_socket_path=sys.argv[1], password="right")
print("redis-py", redis.__version__, "Redis", right.info("server")["redis_version"])


def logins(**options):
    """Return how often a client with a wrong password tried to log in, and the seconds until it gave up."""
    before, begun = right.info("errorstats").get("errorstat_WRONGPASS", {"count": 0})["count"], time.monotonic()
    try:
        redis.Redis(unix_socket_path=sys.argv[1], password="wrong", **options).ping()
    except redis.AuthenticationError as error:
        assert isinstance(error, redis.ConnectionError)
    return right.info("errorstats")["errorstat_WRONGPASS"]["count"] - before, time.monotonic() - begun


tries, seconds = logins()
once, _ = logins(retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))
print(f"by default: {tries} tries in {seconds:.1f} s; without retries: {once}")
assert once == 1
if tries <= 1:
    sys.exit("changed: a wrong password is sent once")
print("as seen")
PYTHON
