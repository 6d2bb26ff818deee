#!/usr/bin/env bash
# The inference library as other people's programs meet it: installed under a prefix of its own, found by pkg-config, compiled against nothing else.
set -u
cd "$(dirname "$0")/../.." || exit 1
tree=$PWD
room=$(mktemp -d "/tmp/sieve infer XXXXXX") || exit 1
plain=$(mktemp -d) || exit 1 # pkg-config's answers are split at blanks
trap 'rm -rf "$room" "$plain"' EXIT

verdict() { # NAME CODE TEXT: ok where CODE is 0, else TEXT says why
    if [ "$2" = 0 ]; then echo "ok $1"; else echo "not ok $1: exit $2: $(printf '%s' "$3" | tail -c 600 | tr '\n' '~')"; fi
}
hold() { # NAME COMMAND...
    local name=$1 out
    shift
    out=$("$@" 2>&1 < /dev/null)
    verdict "$name" $? "$out"
}
settings() { PKG_CONFIG_PATH=$1/lib/pkgconfig pkg-config "${@:2}" sieve-infer; }

# ---- a model and pictures ----
bin/shapes "$room/pictures" --train 40 --val 20 --size 64 --seed 2 --quiet || echo "not ok shapes_write_pictures: exit $?"
export QUICKSTART="$room"
bin/train --config configs/quickstart.ini --quiet --model.weights= --train.epochs=1 --train.batch=20 --train.warmup_epochs=0 --train.calibrate=20 --pruning.keep=0.6,0.4 \
    --latency.budget= --latency.runs=3 --latency.warm_up=1 --run.dir="$room/run" > "$room/train.log" 2>&1
model=$room/run/model.safetensors
[ -f "$model" ] && echo "ok a_model_is_trained" || echo "not ok a_model_is_trained: $(tail -2 "$room/train.log")"
picture=$(find "$room/pictures/val" -type f | sort | head -n 1)

# ---- installed ----
hold installs make --no-print-directory install-infer PREFIX="$plain/usr"
hold installs_below_a_destination make --no-print-directory install-infer PREFIX=/usr DESTDIR="$room/stage dir"
[ -f "$room/stage dir/usr/include/sieve_infer.h" ] && grep -qx "prefix=/usr" "$room/stage dir/usr/lib/pkgconfig/sieve-infer.pc" && echo "ok the_destination_is_not_in_the_pc_file" || echo "not ok the_destination_is_not_in_the_pc_file"
exported=$(nm -D --defined-only "$plain/usr/lib/libsieve-infer.so" | awk '{ print $3 }' | sort)
declared=$(grep -oE '^SIEVE_API .*\bsieve_[a-z_]+\(' "$plain/usr/include/sieve_infer.h" | grep -oE 'sieve_[a-z_]+\($' | tr -d '(' | sort)
[ "$exported" = "$declared" ] && [ -n "$declared" ] && echo "ok exactly_the_headers_functions_are_exported" || echo "not ok exactly_the_headers_functions_are_exported: $(diff <(echo "$exported") <(echo "$declared") | tr '\n' ' ')"
[ "$(nm -g --defined-only "$plain/usr/lib/libsieve-infer.a" | awk 'NF == 3 { print $3 }' | sort)" = "$declared" ] && echo "ok the_static_library_has_no_other_names" || echo "not ok the_static_library_has_no_other_names"

# ---- compiled against it alone, in a folder from which the tree cannot be seen ----
cp examples/classify.c "$plain/"
cd "$plain" || exit 1
strict="-Wall -Wextra -Wconversion -Wpedantic -Werror"
hold example_compiles gcc -std=c11 $strict classify.c $(settings "$plain/usr" --cflags --libs) -o shared
hold example_compiles_statically gcc -std=c11 $strict -static classify.c $(settings "$plain/usr" --static --cflags --libs) -o static
printf '#include <sieve_infer.h>\nint main() { sieve_answer a[1]; return sieve_top(nullptr, 0, a, 0) != 0 || !*sieve_version(); }\n' > a.cpp
if command -v g++ > /dev/null; then hold header_is_cpp g++ -std=c++11 $strict -c a.cpp $(settings "$plain/usr" --cflags) -o a.o; else echo "skip header_is_cpp: no g++ here"; fi
printf '#include <sieve_infer.h>\n' > alone.c
hold header_stands_alone gcc -std=c11 $strict -fsyntax-only alone.c $(settings "$plain/usr" --cflags)

export LD_LIBRARY_PATH="$plain/usr/lib"
shared=$(./shared "$model" "$picture" 2>&1)
verdict example_answers $? "$shared"
static=$(./static "$model" "$picture" 2>&1)
verdict static_example_answers $? "$static"
[ "$shared" = "$static" ] && [ "$(grep -c % <<< "$shared")" = 5 ] && grep -q "stage 1 keeps" <<< "$shared" && echo "ok both_forms_say_the_same" || echo "not ok both_forms_say_the_same: $shared / $static"
program=$("$tree/bin/classify" "$model" "$picture" 2>&1 | sed -nE 's/^ +([0-9.]+ %  .*)$/\1/p')
library=$(sed -nE 's/^ *([0-9.]+ %  .*) \([0-9]+\)$/\1/p' <<< "$shared")
[ "$program" = "$library" ] && [ -n "$library" ] && echo "ok bin_classify_says_the_same" || echo "not ok bin_classify_says_the_same: $program / $library"

refused() { # NAME CODE TEXT COMMAND...
    local out rc
    out=$("${@:4}" 2>&1)
    rc=$?
    if [ $rc = "$2" ] && grep -qF -- "$3" <<< "$out" && [ "$(grep -c . <<< "$out")" = 1 ]; then echo "ok $1"; else echo "not ok $1: exit $rc, expected $2: $out"; fi
}
head -c 5000 "$model" > cut.safetensors
refused absent_model 4 "nothing" ./shared nothing "$picture"
refused cut_model 4 "cut.safetensors" ./shared cut.safetensors "$picture"
refused foreign_model 4 "$picture" ./shared "$picture" "$picture"
refused absent_picture 3 "nothing.jpg" ./shared "$model" nothing.jpg

# ---- another kind of machine ----
cd "$tree" || exit 1
if "$tree/tools/install-deps.sh" --check-only --arm > "$plain/missing"; then
    [ -n "${SIEVE_CHECK_SLOW:-}" ] || [ -f build/arm/libsieve-infer.a ] || arm_later=yes
    if [ -n "${arm_later:-}" ]; then
        echo "skip aarch64_says_the_same: compiles the library once more; in make check ARGS=--ci"
    else
        hold installs_for_aarch64 make --no-print-directory install-infer CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar BUILD=build/arm BIN=build/arm/bin PREFIX="$plain/arm"
        hold example_compiles_for_aarch64 aarch64-linux-gnu-gcc -std=c11 $strict -static "$plain/classify.c" $(settings "$plain/arm" --static --cflags --libs) -o "$plain/static-arm"
        arm=$(qemu-aarch64 "$plain/static-arm" "$model" "$picture" 2>&1)
        verdict aarch64_answers $? "$arm"
        [ "$arm" = "$shared" ] && echo "ok aarch64_says_the_same" || echo "not ok aarch64_says_the_same: $arm / $shared"
    fi
else
    echo "skip aarch64_says_the_same: $(head -1 "$plain/missing")"
fi

make --no-print-directory uninstall PREFIX="$plain/usr" > /dev/null 2>&1
[ -z "$(find "$plain/usr" -name '*infer*')" ] && echo "ok uninstall_leaves_nothing" || echo "not ok uninstall_leaves_nothing: $(find "$plain/usr" -name '*infer*' | tr '\n' ' ')"
