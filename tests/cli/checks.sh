#!/usr/bin/env bash
# The checks are worth something only if they turn red: each is run in a small tree of its own that has the fault in it.
set -u
tools=$PWD/tools
tree=$(mktemp -d "/tmp/sieve checks XXXXXX")
trap 'rm -rf "$tree"' EXIT
cd "$tree" || exit 1
git init -q . && mkdir -p base kernels train tools && cp "$tools"/*.sh tools/ || exit 1
export GIT_CONFIG_GLOBAL=/dev/null

# says NAME EXIT_CODE PATTERN COMMAND...: the command ends with this code, and its last lines hold the pattern.
says() {
    local name=$1 code=$2 pattern=$3 said got
    shift 3
    said=$("$@" 2>&1)
    got=$?
    if [ "$got" -eq "$code" ] && grep -qE -- "$pattern" <<< "$said"; then echo "ok $name"
    else echo "not ok $name: exit $got, expected $code and /$pattern/, got: $(tail -3 <<< "$said" | tr '\n' '~')"; fi
}
program() { # program NAME BODY
    printf '#!/usr/bin/env bash\n%s\n' "$2" > "$1"
    chmod +x "$1"
}

echo '#include "base/base.h"' > train/a.c
echo 'typedef int number;' > base/base.h
git add -A
says right_arrows_pass 0 '' tools/check-layers.sh
echo '  #  include "train/loop.h"' > base/b.c
says an_include_of_a_later_folder_names_both_files 1 'base/b.c:1: includes train/loop.h: base -> train points the wrong way' tools/check-layers.sh
echo '#include "b.h"' > base/b.c
says an_include_without_its_folder_is_refused 1 'expected the path from the root, "base/b.h"' tools/check-layers.sh
echo '#include "tests/b.h"' > base/b.c
says an_include_from_outside_the_house_is_refused 1 'base/b.c:1: includes tests/b.h, which is in none of' tools/check-layers.sh
rm base/b.c

says whole_headers_pass 0 '' tools/check-headers.sh
echo 'size_t count(void);' > base/half.h
says a_header_that_needs_another_is_named 1 'base/half.h does not compile alone' tools/check-headers.sh
rm base/half.h

says finished_files_pass 0 '' tools/check-words.sh
echo "/* TO""DO: later */" > base/c.c && git add -A
says a_note_about_unfinished_work_is_shown 1 'base/c.c:1:' tools/check-words.sh
rm base/c.c && git add -A

program good.sh 'echo "ok one"; echo "ok two"; echo "skip three: no data"'
program bad.sh 'echo "ok one"; echo "not ok two: why"; exit 1'
program crash.sh 'echo "ok one"; kill -SEGV $$'
program silent.sh 'exit 0'
program group 'echo "[  PASSED  ] 5 test(s)."; echo "[  SKIPPED ] tests: 2 test(s), listed below:"; echo "[  FAILED  ] tests: 1 test(s), listed below:"; exit 1'
says counts_are_summed 0 '^2 passed, 0 failed, 1 skipped$' tools/run-tests.sh good.sh
says a_failed_line_counts_once 1 '^1 passed, 1 failed$' tools/run-tests.sh bad.sh
says a_crash_counts_as_failed 1 '^1 passed, 1 failed$' tools/run-tests.sh crash.sh
says a_crash_is_called_one 1 'killed by signal 11' tools/run-tests.sh crash.sh
says a_program_that_ran_nothing_counts_as_failed 1 '^0 passed, 1 failed$' tools/run-tests.sh silent.sh
says a_program_that_is_absent_counts_as_failed 1 '^0 passed, 1 failed$' tools/run-tests.sh absent
says the_end_of_a_cmocka_run_is_understood 1 '^5 passed, 1 failed, 2 skipped$' tools/run-tests.sh group
says all_are_added_up 1 '^9 passed, 3 failed, 3 skipped$' tools/run-tests.sh good.sh bad.sh crash.sh group
says output_of_what_failed_is_shown 1 '\| not ok two: why' tools/run-tests.sh bad.sh
says an_unknown_argument_is_refused 2 "'--cl' is not known" tools/check.sh --cl
