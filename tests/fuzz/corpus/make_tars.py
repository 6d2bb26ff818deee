#!/usr/bin/env python3
"""Stored inputs of fuzz_tar: small tars of Python's tarfile (ustar, GNU, pax) and a shard with its index."""
import io, os, tarfile
here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz_tar")

def members(tar, names):
    for name, data in names:
        about = tarfile.TarInfo(name)
        about.size = len(data)
        tar.addfile(about, io.BytesIO(data))

def cut(data):  # two blocks of zeros are the end; tarfile pads to 10240
    return data[:(len(data.rstrip(b"\0")) + 511) // 512 * 512 + 1024]

def make(name, form, names, tail=b"", links=False):
    room = io.BytesIO()
    with tarfile.open(fileobj=room, mode="w", format=form) as tar:
        if links:
            folder = tarfile.TarInfo("train"); folder.type = tarfile.DIRTYPE; tar.addfile(folder)
            link = tarfile.TarInfo("train/l.jpg"); link.type = tarfile.SYMTYPE; link.linkname = "a.jpg"; tar.addfile(link)
        members(tar, names)
    data = cut(room.getvalue())
    if tail: data += b"\nINDEX\n" + tail(len(data))
    open(os.path.join(here, name), "wb").write(data)

two = [("a.jpg", b"x" * 600), ("a.cls", b"1"), ("b.png", b"y"), ("b.cls", b" 0\n")]
deep = "folder/" * 18
make("ustar", tarfile.USTAR_FORMAT, two, links=True)
make("prefix", tarfile.USTAR_FORMAT, [(deep + "a.jpg", b"x"), (deep + "a.cls", b"1")])
make("gnu_long_name", tarfile.GNU_FORMAT, [("n" * 300 + ".jpg", b"x"), ("n" * 300 + ".cls", b"1")])
make("pax_path", tarfile.PAX_FORMAT, [("\u732b" * 60 + ".jpg", b"x"), ("\u732b" * 60 + ".cls", b"1")])
make("with_index", tarfile.USTAR_FORMAT, two, tail=lambda size: b"sieve-shard-index 1 %d 2\n512 600 1 a.jpg\n3072 1 0 b.png\n" % size)
