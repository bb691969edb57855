#!/bin/sh
# ray 2.60.0: ray.init(_node_ip_address="127.0.0.1") does not keep Ray on loopback on Linux. Ray silently replaces the address by
# that of the network, and all its servers (GCS, raylet, driver, workers) listen on every interface. On macOS and Windows Ray
# stays on loopback by default; the variable of the environment that turns this off there, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER,
# set to 0 before ray is imported, turns it on for Linux, too: everything then listens on 127.0.0.1 only.
# This script fails if one of both changes. It needs an address other than those of loopback.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0 psutil==7.1.3
cat >"$folder/listening.py" <<'PYTHON'
import sys

import psutil
import ray

ray.init(
    num_cpus=1,
    include_dashboard=False,
    log_to_driver=False,
    logging_level="error",
    object_store_memory=80 * 2**20,
    _node_ip_address="127.0.0.1",
    _temp_dir=sys.argv[1],
)
numbers = psutil.Process().pid, ray.get(ray.remote(lambda: psutil.Process().pid).remote())
session = ray._private.worker._global_node.get_session_dir_path()
every = psutil.process_iter(["cmdline"])
mine = [one for one in every if one.pid in numbers or session in " ".join(one.info["cmdline"] or [])]
found = {each.laddr.ip.removeprefix("::ffff:") for one in mine for each in one.net_connections("inet") if each.status == "LISTEN"}
print(ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1", found == {"127.0.0.1"})
ray.shutdown()
PYTHON
export RAY_USAGE_STATS_ENABLED=0 HOME="$folder"
plain=$("$folder/venv/bin/python" "$folder/listening.py" "$folder/a")
kept=$(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 "$folder/venv/bin/python" "$folder/listening.py" "$folder/b")
if [ "$plain" != "False False" ]; then
    echo "changed: with _node_ip_address alone the node is at 127.0.0.1, all servers are there: $plain"
    exit 1
fi
if [ "$kept" != "True True" ]; then
    echo "changed: with the variable the node is at 127.0.0.1, all servers are there: $kept"
    exit 1
fi
echo "as seen: every interface with _node_ip_address=127.0.0.1 alone, loopback only with the variable"
