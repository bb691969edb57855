#!/usr/bin/env bash
# Ray 2.60.0 on Linux, started for one machine with the address 127.0.0.1: it takes an address that other machines reach instead,
# and its servers listen on all interfaces. With RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, which is meant for other systems and has to
# be set before Ray is imported, all of them listen on the loopback interface only.
#
# Run: bash findings/ray_listens_on_all_interfaces.sh
# Output seen:
#   ray 2.60.0, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER unset: address is loopback: False, all listen on loopback: False
#   ray 2.60.0, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: address is loopback: True, all listen on loopback: True
# It fails if that changes. On a machine without another address than loopback it says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray==2.60.0" "psutil==7.2.2"
cat > "$folder/listen.py" <<'CODE'
import ipaddress
import os
import sys

import psutil
import ray

ray.init(
    address="local", num_cpus=1, include_dashboard=False, object_store_memory=100_000_000, logging_level="error",
    _node_ip_address="127.0.0.1", _temp_dir=sys.argv[1],
)


@ray.remote
def process():
    return os.getpid()


ray.get(process.remote())
me = psutil.Process()
processes = {me.pid, *(child.pid for child in me.children(recursive=True))}
listening = {one.laddr.ip for one in psutil.net_connections("inet") if one.status == "LISTEN" and one.pid in processes}
address = ray.nodes()[0]["NodeManagerAddress"]
ray.shutdown()


def is_loopback(text):
    found = ipaddress.ip_address(text)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


switch = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
named = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" + (" unset" if switch is None else f"={switch}")
result = is_loopback(address), all(map(is_loopback, listening))
print(f"ray {ray.__version__}, {named}: address is loopback: {result[0]}, all listen on loopback: {result[1]}")
sys.exit(result != ((True, True) if switch == "0" else (False, False)))
CODE
export HOME="$folder" RAY_USAGE_STATS_ENABLED=0 # Ray writes a token under HOME
unset RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER
if ! hostname -I | grep -qv '^127\.'; then
    echo "this machine has no address but loopback: nothing to show"
    exit 0
fi
"$folder/venv/bin/python" "$folder/listen.py" "$folder/a" 2> "$folder/errors" || { cat "$folder/errors"; exit 1; }
RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 "$folder/venv/bin/python" "$folder/listen.py" "$folder/b" 2> "$folder/errors" || { cat "$folder/errors"; exit 1; }
