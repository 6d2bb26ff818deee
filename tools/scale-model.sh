#!/usr/bin/env bash
# Hours and price of a run on several machines, from measured times:
#
#   step(R) = compute B/R + fixed + core + max(exchange - hidden compute B/R, last) + pictures + star
#   exchange = 2 (1 - 1/R) G / rate + 2 segments (R - 1) delay tcp          star = gathers (2 delay + R 0.02 ms)
#
# B pictures a step in R lanes, G bytes of gradient; rate is the slower of the line and of what one core copies, checks and adds; `hidden` is the share
# of a step that is backward (2/3), behind which gradients travel; `last` is the part that nothing is left to hide (what backward makes last, 1/14);
# `core` is what the exchange takes from computing; `star` the small messages through rank 0 (labels, losses, decisions). DeiT: 14 segments and 5
# gathers a step, with three selectors and a teacher 17 and 23 (counted; docs/scale.md). The partners of mixed pictures cross too, before the step.
# Not in it: reading and decoding pictures, ranks of unequal speed, accumulated steps (each exchanges).
# Options (defaults are docs/performance.md's two-core machine): --machines "1 4 16 64" --gbit "1 10" --delay-ms 0.1 --price 0.10 --batch 1024
#   --epochs 30 --images 1281167 --val 50000 --copy-gbyte 0.75 --cores 2 --tcp 1 (1.9 with bbr: docs/scale.md) --mixed 1 --models FILE (rows: name parameters precision dense_ms spvit_ms infer_ms, a picture)
set -eu
machines="1 4 16 64" gbit="1 10" delay=0.1 cores=2 mixed=1 price=0.10 batch=1024 epochs=30 images=1281167 val=50000 copy=0.75 tcp=1 models=""
while [ $# -gt 1 ]; do
    case $1 in
    --machines) machines=$2 ;; --gbit) gbit=$2 ;; --delay-ms) delay=$2 ;; --price) price=$2 ;; --batch) batch=$2 ;; --epochs) epochs=$2 ;;
    --images) images=$2 ;; --cores) cores=$2 ;; --mixed) mixed=$2 ;; --val) val=$2 ;; --copy-gbyte) copy=$2 ;; --tcp) tcp=$2 ;; --models) models=$2 ;;
    *) echo "scale-model: '$1' is not known; see the head of this file" >&2; exit 2 ;;
    esac
    shift 2
done
# DeiT-T and DeiT-S: training steps of 32 and inference of 8 pictures, divided. DeiT-B was not trained: DeiT-S times what inference says (3.93, bf16 3.64).
built_in='DeiT-T 5717416 fp32 24.2 27.8 6.95
DeiT-T 5717416 bf16 8.06 9.03 1.70
DeiT-S 22050664 fp32 87.4 91.0 25.0
DeiT-S 22050664 bf16 29.7 27.9 5.88
DeiT-B 86567656 fp32 344 358 98.3
DeiT-B 86567656 bf16 108 102 21.4'
{ if [ -n "$models" ]; then cat "$models"; else echo "$built_in"; fi; } |
    awk -v machines="$machines" -v gbit="$gbit" -v delay="$delay" -v price="$price" -v batch="$batch" -v epochs="$epochs" -v images="$images" -v val="$val" -v copy="$copy" -v cores="$cores" -v mixed="$mixed" -v tcp="$tcp" '
    # ms of a step; each: ms of a picture; bytes: of a number on the wire
    function step(each, parameters, bytes, ranks, line, segments, gathers,   rate, exchange, open, last, hidden, sent, pictures, star) {
        hidden = each * batch / ranks * 2 / 3
        if (ranks == 1) return each * batch + fixed(parameters)
        rate = line * 1e9 / 8; if (rate > copy * 1e9) rate = copy * 1e9
        sent = 2 * (1 - 1 / ranks) * parameters * bytes
        exchange = 1000 * sent / rate + segments * 2 * (ranks - 1) * delay
        pictures = mixed * (1000 * batch / ranks * 602112 / rate + (ranks - 1) * delay)
        star = gathers * (2 * delay + ranks * 0.02)
        last = exchange / segments
        open = exchange - hidden; if (open < last) open = last
        return each * batch / ranks + fixed(parameters) + open + 1000 * sent / (copy * 1e9) / cores + pictures + star
    }
    function fixed(parameters) { return parameters * 28 / 8e9 * 1000 } # AdamW reads and writes 28 bytes a weight, at 8 GB/s
    function row(name, precision, wire, method, each, infer, parameters, segments, gathers,   m, g, list, lines, count, lines_count, ms, hours, line) {
        count = split(machines, list, " "); lines_count = split(gbit, lines, " ")
        for (g = 1; g <= lines_count; g++) {
            line = sprintf("| %s | %s | %s | %s | %s |", name, method, precision, wire, lines[g])
            for (m = 1; m <= count; m++) {
                ms = step(each, parameters, wire == "bf16" ? 2 : 4, list[m], lines[g], segments, gathers)
                hours = epochs * (images / batch * ms + val * infer / list[m]) / 3600000
                line = line sprintf(" %.1f h, $ %.0f, %.0f %% |", hours, hours * list[m] * price, 100 * each * batch / list[m] / ms)
            }
            print line
        }
    }
    BEGIN {
        printf "%g epochs of %d pictures, %d a step; machines at $ %g an hour; delay %g ms; a core moves %g GB of gradient a second%s. Hours, price of all machines, share of a step that is compute.\n\n", epochs, images, batch, price, delay, copy, mixed ? "; mixup" : ""
        count = split(machines, list, " ")
        printf "| model | training | precision | wire | Gbit/s |"; for (m = 1; m <= count; m++) printf " %d |", list[m]
        printf "\n| --- | --- | --- | --- | --- |"; for (m = 1; m <= count; m++) printf " --- |"; printf "\n"
    }
    NF >= 6 {
        wire = $3 == "bf16" ? "bf16" : "f32"
        row($1, $3, wire, "dense", $4, $6, $2, 14, 5); row($1, $3, wire, "SPViT", $5, $6, $2, 17, 23)
    }'
