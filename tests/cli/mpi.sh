#!/usr/bin/env bash
# Ranks started by mpirun: the bytes of one process with Open MPI and with MPICH; stopped, killed or paused, and gone on with by another number of ranks,
# over sockets or the other MPI. An MPI that is not installed is skipped (tools/install-deps.sh --mpi brings both).
set -u
cd "$(dirname "$0")/../.." || exit 1
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
unset SIEVE_MASTER SIEVE_RANK SIEVE_RANKS
engines=()
for engine in openmpi mpich; do
    if ! command -v "mpicc.$engine" > /dev/null || ! command -v "mpirun.$engine" > /dev/null; then echo "skip $engine: no mpicc.$engine; tools/install-deps.sh --mpi installs it"; continue; fi
    if make --no-print-directory "build/release/mpi/train.$engine" > "$room/built" 2>&1; then engines+=("$engine"); echo "ok ${engine}_is_built"; else echo "not ok ${engine}_is_built: $(cat "$room/built")"; fi
done
[ ${#engines[@]} -eq 0 ] && exit 0
bin/shapes "$room/pictures" --train 200 --val 40 --size 64 --seed 1 --quiet || echo "not ok shapes: exit $?"
recipe="--config configs/quickstart_dense.ini --quiet --train.epochs=3 --train.batch=20 --train.save_every=2 --train.warmup_epochs=0 --train.ema=0.9 --data.mixup=0.8
        --data.cutmix=1 --data.cache_mb=0 --latency.runs=3 --latency.warm_up=1 --run.tensorboard=no --run.rank_timeout=10 --run.threads=1"
same() { cmp -s "$room/one/last.safetensors" "$1/last.safetensors" && cmp -s "$room/one/best.safetensors" "$1/best.safetensors" && cmp -s "$room/one/model.safetensors" "$1/model.safetensors"; }
ends_alike() { # NAME DIR
    if [ "$rc" = 0 ] && same "$2"; then echo "ok $1"; else echo "not ok $1: exit $rc, or other bytes than one process: $said"; fi
}
alone() { # DIR MORE...
    local dir=$1; shift
    said=$(bin/train $recipe --run.dir="$dir" "$@" 2>&1 < /dev/null); rc=$?
}
by_mpi() { # ENGINE RANKS DIR MORE...
    local engine=$1 ranks=$2 dir=$3; shift 3
    said=$(timeout 300 "mpirun.$engine" -n "$ranks" "build/release/mpi/train.$engine" $recipe --run.dir="$dir" "$@" 2>&1 < /dev/null); rc=$?
}
begin() { # ENGINE RANKS DIR MORE...: in the background; rank 0's log names the processes of the others
    local engine=$1 ranks=$2 dir=$3; shift 3
    "mpirun.$engine" -n "$ranks" "build/release/mpi/train.$engine" $recipe --run.dir="$dir" "$@" > "$room/said" 2>&1 < /dev/null & pid=$!
    for ((i = 0; i < 1500; i++)); do grep -q "processes of ranks 1 and on" "$dir/log.txt" 2> /dev/null && break; sleep 0.02; done
    others=($(grep "processes of ranks 1 and on" "$dir/log.txt" | tail -n 1 | sed 's/.*://'))
}
ended() { # waits for mpirun: rc and what was said
    { wait "$pid"; rc=$?; } 2> /dev/null; said=$(cat "$room/said")
    for ((i = 0; i < 250; i++)); do kill -0 "${others[@]}" 2> /dev/null || break; sleep 0.02; done
}
alone "$room/one"
[ $rc = 0 ] && echo "ok one_process_ends" || echo "not ok one_process_ends: exit $rc: $said"

for engine in "${engines[@]}"; do
    for ranks in 1 2 4; do
        by_mpi "$engine" $ranks "$room/$engine$ranks"
        ends_alike "${ranks}_ranks_of_${engine}_end_with_the_bytes_of_one" "$room/$engine$ranks"
    done
    begin "$engine" 3 "$room/asked_$engine"
    sleep 0.3; kill -TERM "${others[1]}" 2> /dev/null
    ended
    if grep -q "and saved" <<< "$said"; then echo "ok a_rank_of_${engine}_asked_to_stop_stops_all"; else echo "not ok a_rank_of_${engine}_asked_to_stop_stops_all: exit $rc: $said"; fi
    alone "$room/asked_$engine" --ranks 2
    ends_alike "what_${engine}_began_with_3_goes_on_over_sockets_with_2" "$room/asked_$engine"
    begin "$engine" 4 "$room/killed_$engine"
    sleep 0.4; kill -9 "${others[1]}" 2> /dev/null
    ended # the launcher may end the others before they can say who was lost; the checkpoint is whole either way
    if [ "$rc" != 0 ]; then echo "ok a_killed_rank_ends_${engine}"; else echo "not ok a_killed_rank_ends_${engine}: $said"; fi
    by_mpi "${engines[-1]}" 2 "$room/killed_$engine"
    ends_alike "after_a_kill_${engine}_goes_on_with_2_of_${engines[-1]}" "$room/killed_$engine"
    begin "$engine" 3 "$room/paused_$engine" --run.rank_timeout=2
    kill -STOP "${others[0]}"
    for ((i = 0; i < 600; i++)); do grep -q "is lost" "$room/said" && break; sleep 0.02; done
    kill -KILL "${others[0]}" 2> /dev/null
    ended
    if grep -q "rank 1 (process ${others[0]}) of 3 is lost: it has said nothing" <<< "$said"; then echo "ok a_paused_rank_of_${engine}_is_named"; else echo "not ok a_paused_rank_of_${engine}_is_named: exit $rc: $said"; fi
    alone "$room/paused_$engine"
    ends_alike "after_a_pause_${engine}_goes_on_alone" "$room/paused_$engine"
    if ! nm bin/train | grep -q MPI_Init; then
        said=$("mpirun.$engine" -n 2 bin/train $recipe --run.dir="$room/without" 2>&1 < /dev/null); rc=$?
        if [ "$rc" = 2 ] && grep -q "make MPI=1" <<< "$said"; then echo "ok a_build_without_mpi_says_so_under_$engine"; else echo "not ok a_build_without_mpi_says_so_under_$engine: exit $rc: $said"; fi
    fi
done
