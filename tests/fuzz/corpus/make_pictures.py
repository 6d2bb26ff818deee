#!/usr/bin/env python3
"""Writes the stored inputs of fuzz_picture and fuzz_classes beside this script (needs Pillow): each colour form and structure once, small."""
import io, os, struct, zlib
from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))
photo = Image.merge("RGB", [Image.linear_gradient("L").resize((24, 17)).rotate(a) for a in (0, 90, 45)])


def put(name, data):
    with open(os.path.join(here, name), "wb") as f:
        f.write(data)


def saved(img, kind, **kw):
    b = io.BytesIO()
    img.save(b, kind, **kw)
    return b.getvalue()


def chunk(kind, body=b""):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, colour, rows, extra=b"", interlace=0, cut=None):
    packed = zlib.compress(rows, 9)
    parts = [packed] if cut is None else [packed[:cut], b"", packed[cut:]]
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)) + extra +
            b"".join(chunk(b"IDAT", p) for p in parts) + chunk(b"IEND"))


row = lambda n: b"".join(bytes([y % 5]) + bytes((17 * y + 7 * x) & 255 for x in range(n)) for y in range(5))
P = "fuzz_picture/"
put(P + "colour.jpg", saved(photo, "JPEG", quality=60))
put(P + "progressive.jpg", saved(photo, "JPEG", quality=40, progressive=True))
put(P + "restart.jpg", saved(photo, "JPEG", quality=60, restart_marker_blocks=1))
put(P + "full_chroma.jpg", saved(photo, "JPEG", quality=60, subsampling=0))
put(P + "grey.jpg", saved(photo.convert("L"), "JPEG", quality=60))
put(P + "cmyk.jpg", saved(photo.convert("CMYK"), "JPEG", quality=60))
put(P + "comment.jpg", saved(photo, "JPEG", quality=20, comment=b"\xff\xda\xff\xd9" * 3))
for depth, width in ((1, 40), (2, 20), (4, 10), (8, 5), (16, 3)):
    put(P + f"grey{depth}.png", png(width, 5, depth, 0, row((width * depth + 7) // 8)))
for colour, samples in ((2, 3), (4, 2), (6, 4)):
    for depth in (8, 16):
        put(P + f"colour{colour}_{depth}.png", png(4, 5, depth, colour, row(4 * samples * depth // 8), cut=3))
put(P + "palette4.png", png(10, 5, 4, 3, row(5), chunk(b"PLTE", bytes(range(30))) + chunk(b"tRNS", bytes(4))))
put(P + "interlaced.png", png(5, 3, 8, 2, b"".join(b"\1" + bytes(3 * n) for n in (1, 1, 2, 1, 3, 3, 2, 2, 5)), interlace=1))
put(P + "texts.png", png(5, 5, 8, 0, row(5), chunk(b"tEXt", b"a\0b") + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 99)) +
                         chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b"y" * 99)) + chunk(b"iCCP", b"p\0\0" + zlib.compress(b"z" * 99)) + chunk(b"gAMA", b"\0\0\xb1\x8f")))
put(P + "animated.png", png(5, 5, 8, 0, row(5), chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 5, 5, 0, 0, 1, 2, 0, 0))))
put(P + "gif", b"GIF89a\1\0\1\0")
put("fuzz_classes/plain", b"n01\tone\nn02\ttwo, or so\nn03\n")
put("fuzz_classes/windows", b"\xef\xbb\xbfa\tb\r\nc\td\r\n\r\n")
put("fuzz_classes/twice", b"a\tb\nc\td\na\te\n")
put("fuzz_classes/empty_line", b"a\tb\n\nc\td")
