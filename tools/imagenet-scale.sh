#!/usr/bin/env bash
# What opening ImageNet's number of pictures takes: 1,281,167 files in 1000 folders (hard links of small pictures), the same as shards with
# and without their indices. Prints seconds and the most memory of each; caches are as the machine left them. Needs 3 GB and 1.3 million
# inodes in a folder of its own below /tmp (or TMPDIR), which is removed; takes minutes. Arguments: pictures and folders, for a smaller try.
set -euo pipefail
cd "$(dirname "$0")/.."
pictures=${1:-1281167} folders=${2:-1000}
[ -x bin/shards ] || { echo "bin/shards is not built; run make"; exit 1; }
room=$(mktemp -d "${TMPDIR:-/tmp}/sieve-scale-XXXXXX")
trap 'rm -rf "$room"' EXIT
trap 'exit 1' INT TERM

look() { # NAME FOLDER
    bin/shards --from "$2" --dry-run --json |
        sed -E "s/.*samples\": ([0-9]+).*open_seconds\": ([0-9.]+).*bytes\": ([0-9]+).*/\1 \2 \3/" |
        awk -v name="$1" '{ printf "%-36s %9d pictures %8.2f s %8.1f MiB\n", name, $1, $2, $3 / 1048576 }'
}
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

began=$(now)
bin/shapes "$room/one" --train 10 --val 0 --size 16 --quiet
python3 - "$room" "$pictures" "$folders" << 'PYTHON'
import glob, os, shutil, sys
room, pictures, folders = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
one = sorted(glob.glob(room + "/one/train/*/*"))[0]
ending = os.path.splitext(one)[1]
for f in range(folders):
    folder = "%s/tree/n%08d" % (room, f)
    os.makedirs(folder)
    first = "%s/n%08d_0%s" % (folder, f, ending)
    shutil.copy(one, first)  # a file of its own for each folder: file systems limit the links of one
    for i in range(1, pictures // folders + (f < pictures % folders)):
        os.link(first, "%s/n%08d_%d%s" % (folder, f, i, ending))
PYTHON
echo "tree made in $(since "$began") s"
look "folder, first time" "$room/tree"
look "folder, again" "$room/tree"
began=$(now)
bin/shards --from "$room/tree" --to "$room/shards" --size-mb 10 --quiet
echo "packed in $(since "$began") s: $(find "$room/shards" -name '*.tar' | wc -l) shards, $(du -sm "$room/shards" | cut -f1) MiB"
look "shards with indices" "$room/shards"
find "$room/shards" -name '*.index' -delete
look "shards without indices, cached" "$room/shards"
