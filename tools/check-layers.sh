#!/usr/bin/env bash
# The order of the folders is the order of who may use whom: a file includes only headers of its own folder and of folders
# before it in this list. Prints each include that points the wrong way; exit 1 if there is one.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
order=(base kernels autograd formats layers pruning latency data comm report eval infer train programs tools)

git ls-files --cached --others --exclude-standard -- "${order[@]/%//*.[ch]}" |
    while IFS= read -r file; do [ -f "$file" ] && printf '%s\0' "$file"; done |
    xargs -0 -r awk -v order="${order[*]}" '
        BEGIN { count = split(order, names, " "); for (i = 1; i <= count; i++) rank[names[i]] = i }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            header = $0; sub(/^[^"]*"/, "", header); sub(/".*/, "", header)
            from = FILENAME; sub(/\/.*/, "", from)
            to = header; sub(/\/.*/, "", to)
            if (index(header, "/") == 0) {
                printf "%s:%d: includes \"%s\"; expected the path from the root, \"%s/%s\"\n", FILENAME, FNR, header, from, header
                wrong++
            } else if (!(to in rank)) {
                printf "%s:%d: includes %s, which is in none of: %s\n", FILENAME, FNR, header, order
                wrong++
            } else if (rank[to] > rank[from]) {
                printf "%s:%d: includes %s: %s -> %s points the wrong way; %s stands before %s\n", FILENAME, FNR, header, from, to, from, to
                wrong++
            }
        }
        END { exit wrong > 0 }' || exit 1 # xargs has codes of its own
