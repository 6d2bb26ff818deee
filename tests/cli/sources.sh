#!/usr/bin/env bash
# Pictures as a user keeps them: folders, shards packed from them, a flat folder with a list; a training run takes each of them.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/verdicts.sh
room=$(mktemp -d "/tmp/sieve sources XXXXXX") || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"

pictures=$room/pictures
bin/shapes "$pictures" --train 120 --val 40 --size 64 --seed 1 --quiet || echo "not ok shapes_write_pictures: exit $?"
mkdir "$room/flat"
for folder in "$pictures"/val/*/; do
    class=$(basename "$folder")
    for file in "$folder"*; do
        cp "$file" "$room/flat/$class-$(basename "$file")"
        printf '%s-%s\t%s\n' "$class" "$(basename "$file")" "$class"
    done
done > "$room/flat.txt"

try help_teaches 0 "Examples" bin/shards --help
try version 0 "shards" bin/shards --version
try bare_call_shows_usage 2 "" bash -c 'bin/shards 2>&1 | head -1; exit ${PIPESTATUS[0]}'
try unknown_option_names_the_nearest 2 "--classes" bin/shards --clases x
try from_is_needed 2 "--from" bin/shards --to "$room/x"
try to_is_needed 2 "--to" bin/shards --from "$pictures/train"
try size_is_a_number 2 "--size-mb" bin/shards --from "$pictures/train" --to "$room/x" --size-mb none
try missing_folder_is_named 3 "nowhere" bin/shards --from nowhere --to "$room/x"
try a_name_cannot_be_a_path 2 "a/b" bin/shards --from "$pictures/train" --to "$room/x" --name a/b
try unlisted_folders_are_an_error 3 "data.unlisted" bash -c "head -3 '$pictures/classes.txt' > '$room/three.txt'; bin/shards --from '$pictures/train' --to '$room/three' --classes '$room/three.txt'"
try unlisted_folders_can_be_left_out 0 '"samples": 36, "classes": 3' bin/shards --from "$pictures/train" --to "$room/three" --classes "$room/three.txt" --unlisted skip --json --quiet
try dry_run_writes_nothing 0 '"samples": 120' bin/shards --from "$pictures/train" --dry-run --json
try packs_training 0 '"samples": 120' bin/shards --from "$pictures/train" --to "$room/shards/train" --classes "$pictures/classes.txt" --size-mb 1 --seed 7 --json --quiet
try packs_a_flat_folder 0 '"samples": 40' bin/shards --from "$room/flat" --list "$room/flat.txt" --to "$room/shards/val" --name val --classes "$pictures/classes.txt" --json --quiet
try packs_it_again 0 '"samples": 120' bin/shards --from "$pictures/train" --to "$room/again" --classes "$pictures/classes.txt" --size-mb 1 --seed 7 --json --quiet
same same_seed_same_bytes "$room/shards/train/train-000000.tar" "$room/again/train-000000.tar"
same same_seed_same_index "$room/shards/train/train-000000.tar.index" "$room/again/train-000000.tar.index"
try shards_are_not_written_over 3 "holds train-000000.tar already" bin/shards --from "$pictures/train" --to "$room/again" --seed 8
[ "$(tar tf "$room/again/train-000000.tar" | wc -l)" = "$(tar tf "$room/again/train-000000.tar" | sort -u | wc -l)" ] && echo "ok tar_lists_it" || echo "not ok tar_lists_it"

# Killed while it writes: the marker stays, the set is refused, and the same command makes it whole.
mkdir "$room/killed"
SIEVE_FAULT=write:3+ bin/shards --from "$pictures/train" --to "$room/killed" --classes "$pictures/classes.txt" --size-mb 1 --seed 7 --quiet 2> /dev/null
try a_failed_run_leaves_no_set 3 "not complete" bin/train --config configs/quickstart_dense.ini --quiet --data.train="$room/killed" --data.format=shards
try the_same_command_finishes_it 0 '"samples": 120' bin/shards --from "$pictures/train" --to "$room/killed" --classes "$pictures/classes.txt" --size-mb 1 --seed 7 --json --quiet
same and_gives_the_same_bytes "$room/shards/train/train-000000.tar" "$room/killed/train-000000.tar"

train() { bin/train --config configs/quickstart_dense.ini --quiet --train.epochs=1 --train.batch=20 --train.warmup_epochs=0 --data.classes="$pictures/classes.txt" --data.shuffle_buffer=30 "$@"; }
try trains_from_shards 0 "top1" train --data.train="$room/shards/train" --data.val="$room/shards/val" --run.dir="$room/one" --json
try stops_inside_the_shards 75 "goes on from" train --data.train="$room/shards/train" --data.val="$room/shards/val" --run.dir="$room/two" --train.max_steps=2
try goes_on_inside_the_shards 0 "top1" train --data.train="$room/shards/train" --data.val="$room/shards/val" --run.dir="$room/two" --json
same the_same_bytes_as_without_a_stop "$room/one/model.safetensors" "$room/two/model.safetensors"
try trains_with_a_flat_folder 0 "top1" train --data.train="$pictures/train" --data.val="$room/flat" --data.val_list="$room/flat.txt" --run.dir="$room/three" --json
sed -i '5s/.*/nothing here/' "$room/flat.txt"
try a_broken_list_names_its_line 3 "flat.txt:5" train --data.train="$pictures/train" --data.val="$room/flat" --data.val_list="$room/flat.txt" --run.dir="$room/four"
truncate -s 3000 "$room/shards/val/val-000000.tar"
try a_cut_shard_names_itself 3 "val-000000.tar" train --data.train="$room/shards/train" --data.val="$room/shards/val" --run.dir="$room/four"
