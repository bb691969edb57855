#!/bin/sh
cd "$(dirname "$0")" || exit 1
[ -x agent ] || rustc -O -o agent agent.rs || exit 1
exec ./agent
