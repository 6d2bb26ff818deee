#!/usr/bin/env bash
# The pages that are printed from the code are those that stand in docs/.
set -euo pipefail
cd "$(dirname "$0")/.."
bin/opdocs | diff - docs/ops.md > /dev/null || { echo "docs/ops.md is not what the ops say; run make docs"; exit 1; }
bin/train --keys-markdown | diff - docs/config.md > /dev/null || { echo "docs/config.md is not what the keys say; run make docs"; exit 1; }
