#!/usr/bin/env python3
"""Times OpenVINO on the inference cases of `bench`: the PyTorch model of vit.py, converted and compiled for the CPU."""
import argparse
import json
import resource
import statistics
import time

import numpy
import openvino
import torch

from stages import MODELS
from vit import WIDTHS, DeiT


class Logits(torch.nn.Module):
    def __init__(self, model, pruned):
        super().__init__()
        self.model, self.takes_away = model, pruned

    def forward(self, pictures):
        found = self.model.pruned(pictures) if self.takes_away else self.model(pictures)
        return found[0] if isinstance(found, tuple) else found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["infer", "infer-pruned"])
    parser.add_argument("--model", default="deit_t", choices=[*WIDTHS, *MODELS])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    pruned = args.case == "infer-pruned"
    network = Logits(MODELS[args.model]() if args.model in MODELS else DeiT(args.model, selectors=pruned), pruned).eval()
    pictures = torch.randn(args.batch, 3, 224, 224)
    with torch.no_grad():
        model = openvino.convert_model(network, example_input=pictures, input=[list(pictures.shape)])
    hint = {"fp32": "f32", "bf16": "bf16"}[args.precision]
    request = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1,
                                                    "INFERENCE_NUM_THREADS": args.threads}).create_infer_request()
    data, times = numpy.ascontiguousarray(pictures.numpy()), []
    for i in range(args.warmup + args.steps):
        begin = time.perf_counter()
        request.infer([data])
        if i >= args.warmup:
            times.append(1e3 * (time.perf_counter() - begin))
    median = statistics.median(times)
    row = {"case": args.case, "peer": "openvino", "model": args.model, "batch": args.batch, "precision": args.precision, "threads": args.threads,
           "ms_median": median, "ms_min": min(times), "images_per_s": 1e3 * args.batch / median,
           "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    print(json.dumps(row) if args.json else "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
