#!/usr/bin/env python3
"""Draws columns of CSV files as one SVG: lines with dots, a colour and a shape of dot a series. Python's standard library alone.

    plot.py --x ms --y top1 --series method --title "..." --out frontier.svg points.csv
    plot.py --x epoch --y val_top1 --out curves.svg "fp32, seed 1=runs/a/metrics.csv" "seed 2=runs/b/metrics.csv"

A file may be given a name (NAME=FILE); then it is one series. With --series each value of that column is one.
"""
import argparse
import csv
import html
import math
import sys

COLORS = ("#2563a8", "#c2501b", "#3d8547", "#8a4fa3", "#b08a00", "#4a4a4a", "#c43d7a", "#1c8a8a")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 64, 190, 44, 52


def number(text):
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def read(files, x, y, series):
    """{name: [(x, y)]} in order of first sight."""
    out = {}
    for item in files:
        name, path = item.split("=", 1) if "=" in item else (None, item)
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except OSError as problem:
            sys.exit(f"{path}: {problem.strerror}")
        for column in (x, y) + ((series,) if series else ()):
            if rows and column not in rows[0]:
                sys.exit(f"{path}: there is no column '{column}'; it has {', '.join(rows[0])}")
        for row in rows:
            at, value = number(row[x]), number(row[y])
            if at is not None and value is not None:
                out.setdefault(row[series] if series else name or path, []).append((at, value))
    return {name: sorted(points) for name, points in out.items()}


def ticks(low, high, most=7):
    """Round numbers that cover low..high."""
    span = (high - low) or abs(high) or 1
    step = 10 ** math.floor(math.log10(span / most))
    step = next(step * m for m in (1, 2, 5, 10) if span / (step * m) <= most)
    first = math.floor(low / step + 1e-9)
    return [step * i for i in range(first, math.ceil(high / step - 1e-9) + 1)]


def dot(shape, x, y, color):
    size = 4.5
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size - .5}" fill="{color}"/>'
    corners = ((4, 45), (3, -90), (4, 0), (3, 90))[(shape - 1) % 4]
    points = " ".join(f"{x + 1.25 * size * math.cos(math.radians(corners[1] + 360 * i / corners[0])):.1f},"
                      f"{y + 1.25 * size * math.sin(math.radians(corners[1] + 360 * i / corners[0])):.1f}" for i in range(corners[0]))
    return f'<polygon points="{points}" fill="{color}"/>'


def draw(data, title, x_label, y_label):
    points = [p for series in data.values() for p in series]
    x_ticks, y_ticks = ticks(min(p[0] for p in points), max(p[0] for p in points)), ticks(min(p[1] for p in points), max(p[1] for p in points))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at_x(value):
        return LEFT + (value - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (right - LEFT)

    def at_y(value):
        return bottom - (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (bottom - TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="#222">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', f'<text x="{LEFT}" y="24" font-size="15">{html.escape(title)}</text>']
    for value in x_ticks:
        out.append(f'<line x1="{at_x(value):.1f}" y1="{TOP}" x2="{at_x(value):.1f}" y2="{bottom}" stroke="#e6e6e6"/>'
                   f'<text x="{at_x(value):.1f}" y="{bottom + 18}" text-anchor="middle">{value:.6g}</text>')
    for value in y_ticks:
        out.append(f'<line x1="{LEFT}" y1="{at_y(value):.1f}" x2="{right}" y2="{at_y(value):.1f}" stroke="#e6e6e6"/>'
                   f'<text x="{LEFT - 8}" y="{at_y(value) + 4:.1f}" text-anchor="end">{value:.6g}</text>')
    out.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(x_label)}</text>'
               f'<text transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">{html.escape(y_label)}</text>')
    for i, (name, series) in enumerate(data.items()):
        color = COLORS[i % len(COLORS)]
        out.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (color, " ".join(f"{at_x(a):.1f},{at_y(b):.1f}" for a, b in series)))
        out += [dot(i % 5, at_x(a), at_y(b), color) for a, b in series]
        out.append(dot(i % 5, right + 20, TOP + 8 + 20 * i, color) + f'<text x="{right + 32}" y="{TOP + 12 + 20 * i}">{html.escape(name)}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--x", required=True)
    parser.add_argument("--y", required=True)
    parser.add_argument("--series")
    parser.add_argument("--title", default="")
    parser.add_argument("--x-label")
    parser.add_argument("--y-label")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    data = read(args.files, args.x, args.y, args.series)
    if not data:
        sys.exit("there is nothing to draw: no row has both numbers")
    try:
        with open(args.out, "w", encoding="utf-8") as file:
            file.write(draw(data, args.title, args.x_label or args.x, args.y_label or args.y))
    except OSError as problem:
        sys.exit(f"{args.out}: cannot be written: {problem.strerror}")


if __name__ == "__main__":
    main()
