#!/usr/bin/env bash
# Each header compiles alone, in both number types. What is the body of several files (NAME_body.h, kernels/wide/, engines) is no header
# in this sense. Headers of an instruction set get its flags. Prints the compiler's first words; exit 1 if one does not compile.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
folders=(base kernels autograd formats layers pruning latency data comm report eval infer train include tools)
failed=0
while IFS= read -r header; do
    [ -f "$header" ] || continue
    isa=()
    case $header in
    *_body.h | kernels/wide/* | kernels/arm/* | kernels/x86/*_amx.h) continue ;;
    *_bf16*) isa=(-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mavx512bf16) ;;
    kernels/x86/*avx2*) isa=(-mavx2 -mfma) ;;
    kernels/x86/*) isa=(-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma) ;;
    esac
    numbers=("" -DSIEVE_F64)
    [[ $header == kernels/x86/* ]] && numbers=("")
    for real in "${numbers[@]}"; do
        said=$(printf '#include "%s"\n' "$header" | # an unused static inline of a header is no fault
            "${CC:-gcc}" -std=c17 -D_GNU_SOURCE ${real:+"$real"} -I. -Wall -Wextra -Werror -Wno-unused-function "${isa[@]}" -fsyntax-only -x c - 2>&1) && continue
        echo "$header does not compile alone${real:+ ($real)}:"
        head -5 <<< "$said"
        failed=1
    done
done < <(git ls-files --cached --others --exclude-standard -- "${folders[@]/%//*.h}")
exit $failed
