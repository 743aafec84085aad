#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Many short runs of 64 threads that hand blocks to each other, into files and pipes:
# in none may a free lie before the allocation of its block, nor an address be given out
# twice, nor anything need mending. Ends with status 1 where one does, and keeps its trace.
#
#     tests/soak/order.sh [RUNS]        1000 unless told
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
build=${MLOG_BUILD_DIR:-$here/../../build}
read -r python < "$build/tests/python-path"
MLOG_BUILD_DIR=$build PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/.. \
    exec "$python" "$here/order.py" "${1:-1000}"
