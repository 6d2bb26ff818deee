#!/usr/bin/env python3
"""Writes resize.csv beside this script: what Pillow makes of a made-up picture, as SHA-256 of the RGB bytes.

columns: picture (noise, edges), its width, height; crop left, top, width, height; result width, height; filter; sha256
The pictures are formulas (see picture below), so that the test can make them again. The figures are of Pillow 13.0.0.
"""
import hashlib, os
import numpy as np, PIL
from PIL import Image

assert PIL.__version__ == "13.0.0", "the order of the two passes depends on the version"


def picture(kind, width, height):
    i = np.arange(width * height * 3, dtype=np.uint32)
    v = i * np.uint32(2654435761)
    v = ((v ^ (v >> np.uint32(15))) * np.uint32(2246822519)) >> np.uint32(24)
    if kind == "edges":
        v = np.where(v & 64, 255, 0)
    return Image.fromarray(v.astype(np.uint8).reshape(height, width, 3))


SIZES = [  # width, height, crop (None: all), result
    (64, 48, None, (32, 24)), (64, 48, None, (128, 96)), (64, 48, None, (64, 48)), (64, 48, None, (64, 20)), (64, 48, None, (64, 100)),
    (64, 48, None, (20, 48)), (64, 48, None, (100, 48)), (64, 48, None, (1, 1)), (1, 1, None, (17, 9)), (1, 300, None, (5, 7)), (300, 1, None, (7, 5)),
    (3, 2, None, (224, 224)), (500, 375, None, (341, 256)), (375, 500, None, (256, 341)), (500, 333, None, (384, 256)), (255, 257, None, (256, 258)),
    (224, 224, (10, 20, 150, 130), (224, 224)), (224, 224, (0, 100, 224, 60), (224, 224)), (224, 224, (7, 9, 33, 201), (224, 224)),
    (40, 100, None, (80, 99)), (40, 100, None, (30, 79)), (40, 100, None, (30, 80)), (40, 100, None, (30, 81)), (20, 19, None, (256, 2)),
    (100, 400, None, (50, 299)), (100, 400, None, (50, 300)), (333, 77, (100, 3, 200, 70), (61, 67)),
]
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "resize.csv"), "w") as out:
    for kind in ("noise", "edges"):
        for width, height, crop, size in SIZES:
            left, top, across, down = crop or (0, 0, width, height)
            for name, method in (("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)):
                made = picture(kind, width, height).crop((left, top, left + across, top + down)).resize(size, method)
                sha = hashlib.sha256(made.tobytes()).hexdigest()
                print(kind, width, height, left, top, across, down, *size, name, sha, sep=",", file=out)
