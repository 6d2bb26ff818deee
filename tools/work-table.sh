#!/usr/bin/env bash
# A latency table in which a ms is a million multiply-adds, for comparing methods at equal work where no machine is quiet: spec of the parts as pruning/work.c
# has them. Sizes are vit_nano's unless given in the environment.
#
#     tools/work-table.sh evit > work-evit.csv
set -eu
method=${1:?a method is needed: random, attention, evit, tome, dynamicvit or spvit}
awk -v m="$method" -v arch="${ARCH:-vit_nano}" -v image="${IMAGE:-64}" -v patch="${PATCH:-8}" -v depth="${DEPTH:-6}" -v D="${WIDTH:-96}" -v H="${HEADS:-3}" -v K="${CLASSES:-10}" '
function mlp(n) { return 8 * n * D * D }
function block(n) { return 4 * n * D * D + 2 * n * n * D + mlp(n) }
function row(op, n, work) { printf "%s,1,%d,%.9f,%.9f\n", op, n, (work > 1 ? work : 1) / 1e6, (work > 1 ? work : 1) / 1e6 }
BEGIN {
    N = (image / patch) ^ 2; d = D / H; h = int(H / 2) ? int(H / 2) : 1
    print "# device: multiply-adds, a million a ms\n# arch: " arch "\n# image: " image "\n# patch: " patch "\n# depth: " depth "\n# width: " D "\n# heads: " H "\n# selector: " m "\nop,batch,tokens,ms_median,ms_p95"
    for (n = 1; n < N + 8; n++) {
        r = n + 1; s = 0
        if (m == "attention") s = r * D
        if (m == "evit") s = block(r) - mlp(r) + r * D
        if (m == "tome") s = block(r) - mlp(r) + int((r + 1) / 2) * int(r / 2) * d
        if (m == "spvit") s = n * (H * (d * d + d * d / 2 + d * d / 8 + d / 2) + 2 * H * h)
        if (m == "dynamicvit") s = n * (1.625 * D * D + D / 2)
        row("block", n, block(n)); row("selector", n, s); row("mlp", n, mlp(n))
    }
    row("embed", N + 1, N * 3 * patch * patch * D); row("head", N + 1, D * K)
}'
