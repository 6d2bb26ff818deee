#!/usr/bin/env bash
# Our speed beside PyTorch's and OpenVINO's on this machine, for `make bench-peer`: sets the peers up in a private environment
# (build/peer; PEER_PYTHON=/path/to/python takes one that has them), then bench/peer/compare.py alternates and writes docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PEER_PYTHON:-}" ]; then
    PEER_PYTHON=build/peer/bin/python
    if [ ! -x "$PEER_PYTHON" ]; then
        echo "setting up PyTorch and OpenVINO in build/peer (about 1 GB)"
        mkdir -p build
        python3 -m venv build/peer || { rm -rf build/peer; echo "bench-peer: python3 with venv is needed (apt-get install python3-venv)" >&2; exit 1; }
        build/peer/bin/pip install --quiet --extra-index-url https://download.pytorch.org/whl/cpu -r bench/peer/requirements.txt || { rm -rf build/peer; exit 1; }
    fi
fi
[ -x bin/bench ] || make --no-print-directory -j"$(nproc)" programs
export PYTHONDONTWRITEBYTECODE=1
exec "$PEER_PYTHON" bench/peer/compare.py "$@"
