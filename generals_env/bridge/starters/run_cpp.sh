#!/bin/sh
cd "$(dirname "$0")" || exit 1
[ -x agent ] || g++ -std=c++17 -O2 -o agent agent.cpp || exit 1
exec ./agent
