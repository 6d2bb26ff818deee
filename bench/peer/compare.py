#!/usr/bin/env python3
"""Runs `bin/bench` and the peers in turn, case by case, and puts the medians side by side: on the terminal and, between two markers a
model, into docs/performance.md. Peers that are absent or fail are shown as "-", with their last words on standard error.

    tools/bench-peer.sh                                   every case, three rounds (about half an hour)
    tools/bench-peer.sh --cases infer --batch 1           one case, one batch size
    tools/bench-peer.sh --model swin_t,convnext_t,pit_s   other models, dense cases alone
    tools/bench-peer.sh --model swin_t --cpu-time         on a machine that others use: processor time of one thread
    tools/bench-peer.sh --peers eager                     beside PyTorch's eager form alone
    tools/bench-peer.sh --rounds 1 --steps 3 --no-write   a quick look"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "performance.md"

# (case, batch): training at 32, inference at 32 and 1
CASES = [("dense-train", 32), ("spvit-train", 32), ("infer", 32), ("infer-pruned", 32), ("infer", 1), ("infer-pruned", 1)]
DENSE_ALONE = ("swin_t", "convnext_t", "pit_s", "lvvit_s")  # backbones whose tokens cannot leave
# our precision, the peers' beside it, further options of ours
PRECISIONS = [("fp32", "fp32", []), ("bf16x3", "fp32", []), ("bf16", "bf16", ["--recompute"])]


def count_cpu_time():
    """From here on programs time themselves by the processor time of their thread."""
    library = ROOT / "build" / "cpu_clock.so"
    library.parent.mkdir(exist_ok=True)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(HERE / "cpu_clock.c"), "-o", str(library)], check=True)
    os.environ["LD_PRELOAD"] = str(library)


def steps_of(case, batch, wanted):
    return wanted or (5 if case.endswith("train") else 10 if batch > 4 else 50)


def run(command, quiet=False):
    """The last JSON object that a command prints; None where it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0 and rows:
        return [json.loads(row) for row in rows]
    if not quiet:
        words = (done.stderr or done.stdout).strip().splitlines()
        print(f"{' '.join(command[1:3])}: {words[-1] if words else 'failed'}", file=sys.stderr)
    return None


def ours(model, case, batch, precision, extra, args):
    flags = ["--case", case, "--model", model, "--batch", str(batch), "--precision", precision, "--threads", str(args.threads),
             "--steps", str(steps_of(case, batch, args.steps)), "--json"]
    return run(["bin/bench", *flags, *(extra if case.endswith("train") else [])])


def peer(script, model, case, batch, precision, args, *options):
    flags = ["--model", model, "--batch", str(batch), "--precision", precision, "--threads", str(args.threads),
             "--steps", str(steps_of(case, batch, args.steps)), "--json"]
    rows = run([sys.executable, str(HERE / script), case, *flags, *options])
    return rows[-1] if rows else None


def compare(model, case, batch, args):
    """Rounds of everything in turn; the median round of each."""
    columns = {}
    for round_number in range(args.rounds):
        if sys.stderr.isatty():
            print(f"\r{model}, {case}, batch {batch}: round {round_number + 1} of {args.rounds}   ", end="", file=sys.stderr, flush=True)
        for name, _, extra in PRECISIONS:
            rows = ours(model, case, batch, name, extra, args)
            if rows:
                columns.setdefault(name, []).append(rows[-1])
        for precision in ("fp32", "bf16"):
            peers = {"eager": ("torch_peer.py", []), "compiled": ("torch_peer.py", ["--compile"]), "openvino": ("openvino_peer.py", [])}
            for name, (script, options) in peers.items():
                if name not in args.peers.split(",") or (name == "openvino" and case.endswith("train")):
                    continue
                row = peer(script, model, case, batch, precision, args, *options)
                if row:
                    columns.setdefault((name, precision), []).append(row)
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    middle = {}
    for name, rows in columns.items():
        rows.sort(key=lambda row: row["ms_median"])
        middle[name] = dict(rows[len(rows) // 2], ms_median=statistics.median(row["ms_median"] for row in rows))
    return middle


def number(value):
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 20 else f"{value:.2f}"


def lines_of(case, batch, found):
    for name, theirs, _ in PRECISIONS:
        mine = found.get(name)
        if not mine:
            continue
        peers = {which: found.get((which, theirs)) for which in ("eager", "compiled", "openvino")}
        known = [row for row in peers.values() if row]
        best = min(known, key=lambda row: row["ms_median"]) if known else None
        ratio = f"{best['ms_median'] / mine['ms_median']:.2f}" if best else "-"
        memory = f"{mine['peak_mib']:.0f} / {best['peak_mib']:.0f}" if best else f"{mine['peak_mib']:.0f} / -"
        yield [f"{case}, batch {batch}", name, number(mine["ms_median"]), *(number(row["ms_median"] if row else None) for row in peers.values()), ratio,
               f"{100 * mine['share_of_peak']:.0f} %", memory]


HEADS = ["case", "ours in", "Sieve, ms", "torch eager", "torch compiled", "OpenVINO", "ratio to the best", "share of peak", "MiB, ours / best peer's"]


def cases_of(args):
    return [(case, args.train_batch if case.endswith("train") else batch) for case, batch in CASES]


def write(table, head, model, args):
    """Into the model's own table; rows of cases that were not run stay."""
    begin, end = f"<!-- {model}:begin -->", f"<!-- {model}:end -->"
    text = PAGE.read_text() if PAGE.exists() else "# Speed beside others\n"
    if begin not in text or end not in text:
        text = text.rstrip() + f"\n\n## {model}\n\n{begin}\n{end}\n"
    before, rest = text.split(begin)
    old, after = rest.split(end)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in old.splitlines() if line.startswith("|")][2:]
    rows = {tuple(row[:2]): row for row in cells}
    rows.update({tuple(row[:2]): row for row in table})
    order = [(f"{case}, batch {batch}", name) for case, batch in cases_of(args) for name, _, _ in PRECISIONS]
    lines = ["", head, "", "| " + " | ".join(HEADS) + " |", "|" + " --- |" * len(HEADS)]
    lines += ["| " + " | ".join(rows[key]) + " |" for key in order if key in rows]
    PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + after)
    print(f"written to {PAGE.relative_to(ROOT)}")


def compare_model(model, about, args):
    wanted = args.cases.split(",") if args.cases else None
    head = (f"{model}, {args.threads} thread{'s' if args.threads > 1 else ''} on {about['machine']} ({about['isa']}, fp32 peak {about['peak_gflops']:.0f} GFLOP/s), "
            f"{args.rounds} rounds in turn, medians{', processor time' if args.cpu_time else ''}: `tools/bench-peer.sh {' '.join(sys.argv[1:])}`".strip())
    print(head)
    table = []
    for case, batch in cases_of(args):
        if (wanted and case not in wanted) or (args.batch and batch != args.batch):
            continue
        if model in DENSE_ALONE and case not in ("dense-train", "infer"):
            continue
        for row in lines_of(case, batch, compare(model, case, batch, args)):
            table.append(row)
            print("  ".join(f"{cell:>{max(len(head_of), 10)}}" for cell, head_of in zip(row, HEADS)), flush=True)
    if not args.no_write:
        write(table, head, model, args)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", help="of dense-train,spvit-train,infer,infer-pruned; default: all")
    parser.add_argument("--batch", type=int, help="only cases of this batch size")
    parser.add_argument("--model", default="deit_t", help=f"deit_t, deit_s, deit_b, {', '.join(DENSE_ALONE)}; several with commas")
    parser.add_argument("--peers", default="eager,compiled,openvino", help="of eager,compiled,openvino; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train-batch", type=int, default=32, help="of training; default: 32")
    parser.add_argument("--cpu-time", action="store_true", help="processor time of one thread instead of the time that passes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed runs of each; default: 5 of training, 10 or 50 of inference")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    args = parser.parse_args()
    if args.cpu_time:
        args.threads = 1
        count_cpu_time()
    header = run(["bin/bench", "--case", "infer", "--batch", "1", "--steps", "1", "--threads", str(args.threads), "--json"])
    if not header:
        sys.exit("bin/bench does not run; build it with `make`")
    about = header[0]
    for model in args.model.split(","):
        compare_model(model, about, args)


if __name__ == "__main__":
    main()
