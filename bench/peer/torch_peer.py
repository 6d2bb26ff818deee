#!/usr/bin/env python3
"""Times PyTorch on the cases of `bench`: the same flags, the same JSON. Random weights and pictures; nothing but time is meant."""
import argparse
import contextlib
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F

from stages import MODELS
from vit import KEEP, WIDTHS, DeiT


def dense_model(name):
    """A model that gives logits alone."""
    if name in MODELS:
        return MODELS[name]()
    model = DeiT(name)
    forward = model.forward
    model.forward = lambda pictures: forward(pictures)[0]
    return model


def dense_loss(model):
    return lambda x, labels: F.cross_entropy(model(x).float(), labels, label_smoothing=0.1)


def spvit_loss(model):
    def loss(x, labels, teacher_logits, teacher_tokens):
        logits, tokens, masks = model.masked(x)
        logits = logits.float()
        shares = torch.stack([mask.float().mean(1) for mask in masks], 1)
        ratio = ((shares - torch.tensor(KEEP)) ** 2).mean()
        distill = F.kl_div(logits.log_softmax(1), teacher_logits.float().log_softmax(1), reduction="batchmean", log_target=True)
        apart = (tokens.float() - teacher_tokens.float()).square().mean(2)
        tokens_loss = (apart * masks[-1]).sum() / masks[-1].sum().clamp(min=1)
        return F.cross_entropy(logits, labels, label_smoothing=0.1) + 2 * ratio + 0.5 * distill + 0.5 * tokens_loss
    return loss


def training_step(args, autocast, pictures):
    spvit = args.case == "spvit-train"
    model = DeiT(args.model, selectors=True) if spvit else dense_model(args.model)
    labels = torch.randint(0, 1000, (args.batch,))
    teacher = DeiT(args.model).eval() if spvit else None
    loss = spvit_loss(model) if spvit else dense_loss(model)
    if args.compile:
        loss = torch.compile(loss)
        teacher = torch.compile(teacher) if spvit else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            taught = ()
            if spvit:
                with torch.no_grad():
                    taught = teacher(pictures)
            value = loss(pictures, labels, *taught)
        value.backward()
        optimizer.step()
    return step


def inference_step(args, autocast, pictures):
    pruned = args.case == "infer-pruned"
    model = (DeiT(args.model, selectors=True) if pruned else dense_model(args.model)).eval()
    forward = model.pruned if pruned else model.forward
    forward = torch.compile(forward) if args.compile else forward

    def step():
        with torch.no_grad(), autocast():
            forward(pictures)
    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["dense-train", "spvit-train", "infer", "infer-pruned"])
    parser.add_argument("--model", default="deit_t", choices=[*WIDTHS, *MODELS])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    bf16 = args.precision == "bf16"
    autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if bf16 else contextlib.nullcontext
    make = training_step if args.case.endswith("train") else inference_step
    step, times = make(args, autocast, torch.randn(args.batch, 3, 224, 224)), []
    for i in range(args.warmup + args.steps):
        begin = time.perf_counter()
        step()
        if i >= args.warmup:
            times.append(1e3 * (time.perf_counter() - begin))
    median = statistics.median(times)
    row = {"case": args.case, "peer": "torch compiled" if args.compile else "torch eager", "model": args.model, "batch": args.batch,
           "precision": args.precision, "threads": args.threads, "ms_median": median, "ms_min": min(times), "images_per_s": 1e3 * args.batch / median,
           "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    print(json.dumps(row) if args.json else "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
