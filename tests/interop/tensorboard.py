#!/usr/bin/env python3
"""Reads a folder of event files with TensorBoard's own two readers, which must agree (they differ in how they drop points that a
resumed run has replaced), and prints each tag with its steps and values.

    python3 tests/interop/tensorboard.py FOLDER

Ends with 77 (skipped) where the Python package tensorboard is not installed, with 1 where the folder has no tag or the readers differ.
"""
import os
import sys


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        print("usage: tensorboard.py FOLDER", file=sys.stderr)
        return 2
    sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]  # this file has the package's name
    try:
        from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
    except ImportError as error:
        print(f"skipped: tensorboard cannot be imported ({error})", file=sys.stderr)
        return 77
    plain = event_accumulator.EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
    served = plugin_event_accumulator.EventAccumulator(sys.argv[1], tensor_size_guidance={"scalars": 0})  # of the web server
    plain.Reload()
    served.Reload()
    points = {tag: [(p.step, p.value) for p in plain.Scalars(tag)] for tag in plain.Tags()["scalars"]}
    again = {tag: [(p.step, p.tensor_proto.float_val[0]) for p in served.Tensors(tag)] for tag in served.Tags()["tensors"]}
    for tag in sorted(points):
        print(tag, " ".join(f"{step}:{value:.6g}" for step, value in points[tag]))
    if not points:
        print(f"{sys.argv[1]}: holds no tag", file=sys.stderr)
    if points != again:
        print(f"{sys.argv[1]}: the web server's reader shows {again}", file=sys.stderr)
    return 0 if points and points == again else 1


if __name__ == "__main__":
    sys.exit(main())
