#!/usr/bin/env bash
# The bounded form of `make faults`: of each scenario and kind the point in the middle fails.
cd "$(dirname "$0")/../.." || exit 1
FAULTS=${FAULTS:-1} tools/faults.sh | awk '/^ok / { printf "ok %s_survives_%s: %s\n", $2, $3, $0; next } { print }'
