#!/usr/bin/env python3
"""Writes augment.csv: checksums of what Pillow makes of a drawn picture, an operation a line. Needs Pillow 13; run in this folder."""
import math
import random
import zlib
from PIL import Image, ImageEnhance, ImageOps

FILL = (124, 116, 104)
SIZES = [(64, 48), (47, 61), (3, 3), (2, 5), (1, 1), (96, 5)]


def picture(width, height, seed):
    state, out = seed, bytearray()
    for y in range(height):
        for x in range(width):
            for c in range(3):
                state = (state * 1664525 + 1013904223) & 0xffffffff
                base = (x * (c + 1) * 5 + y * 3 * (3 - c)) % 256
                out.append((base // 4 + 90 if seed % 3 == 0 else base) * 3 // 4 + (state >> 26))
    return Image.frombytes("RGB", (width, height), bytes(out))


def posterize(img, bits):
    return img if bits >= 8 else Image.new("RGB", img.size) if bits < 1 else ImageOps.posterize(img, int(bits))


def affine(img, matrix, look):
    return img.transform(img.size, Image.AFFINE, matrix, resample=look, fillcolor=FILL)


OPS = {
    "AutoContrast": lambda i, a, r: ImageOps.autocontrast(i),
    "Equalize": lambda i, a, r: ImageOps.equalize(i),
    "Invert": lambda i, a, r: ImageOps.invert(i),
    "Rotate": lambda i, a, r: i.rotate(a, resample=r, fillcolor=FILL),
    "Posterize": lambda i, a, r: posterize(i, a),
    "Solarize": lambda i, a, r: ImageOps.solarize(i, a),
    "SolarizeAdd": lambda i, a, r: i.point([min(255, v + int(a)) if v < 128 else v for v in range(256)] * 3),
    "Color": lambda i, a, r: ImageEnhance.Color(i).enhance(a),
    "Contrast": lambda i, a, r: ImageEnhance.Contrast(i).enhance(a),
    "Brightness": lambda i, a, r: ImageEnhance.Brightness(i).enhance(a),
    "Sharpness": lambda i, a, r: ImageEnhance.Sharpness(i).enhance(a),
    "ShearX": lambda i, a, r: affine(i, (1, a, 0, 0, 1, 0), r),
    "ShearY": lambda i, a, r: affine(i, (1, 0, 0, a, 1, 0), r),
    "TranslateX": lambda i, a, r: affine(i, (1, 0, a * i.size[0], 0, 1, 0), r),
    "TranslateY": lambda i, a, r: affine(i, (1, 0, 0, 0, 1, a * i.size[1]), r),
}
MOVES = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
random.seed(7)


def arguments(name):
    levels = [0, 10, random.uniform(0, 10), random.uniform(0, 10)]
    if name in ("AutoContrast", "Equalize", "Invert"):
        return [0]
    if name == "Posterize":
        return [0, 1, 2, 4, 8]
    if name == "Solarize":
        return [0, 26, 128, 256]
    if name == "SolarizeAdd":
        return [0, 55, 110]
    scale, base = {"Rotate": (30, 0), "ShearX": (.3, 0), "ShearY": (.3, 0), "TranslateX": (.45, 0), "TranslateY": (.45, 0)}.get(name, (.9, 1))
    return sorted({base + s * level / 10 * scale for level in levels for s in (1, -1)})


with open("augment.csv", "w") as out:
    out.write("op,argument,width,height,seed,bilinear,crc32\n")
    for name, op in OPS.items():
        for number, (width, height) in enumerate(SIZES):
            for argument in arguments(name):
                for linear in (0, 1) if name in MOVES else (0,):
                    made = op(picture(width, height, number + 1), argument, Image.BILINEAR if linear else Image.BICUBIC)
                    out.write(f"{name},{float(argument).hex()},{width},{height},{number + 1},{linear},{zlib.crc32(made.tobytes()):08x}\n")
