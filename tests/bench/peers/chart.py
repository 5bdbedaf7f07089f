"""Draws bench.json as an SVG: ratios with their bars, and how cost grows.

    python3 tests/bench/peers/chart.py build/bench/bench.json tests/bench/chart.svg
"""

import json
import math
import sys
from xml.sax.saxutils import escape

WIDTH, ROW, LEFT, PANEL_H = 900, 18, 400, 230
COLOURS = ("#0a6", "#c63", "#36c", "#888")
STYLE = ("text{font:11px sans-serif;fill:#333}.t{font-weight:bold;font-size:13px}"
         ".s{fill:#777}.g{stroke:#ddd}.b{stroke:#333;stroke-width:2}")


class Picture:
    def __init__(self):
        self.parts = []

    def text(self, x, y, what, kind="", anchor="start"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" '
                          f'text-anchor="{anchor}">{escape(str(what))}</text>')

    def rect(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
                          f'height="{height}" fill="{colour}"/>')

    def line(self, x, y, to_x, to_y, kind):
        self.parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" '
                          f'y2="{to_y:.1f}" class="{kind}"/>')

    def path(self, points, colour):
        steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{steps}" fill="none" stroke="{colour}" '
                          'stroke-width="2"/>')

    def save(self, path, height):
        with open(path, "w") as out:
            out.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
                      f'height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}">\n'
                      f"<style>{STYLE}</style>\n"
                      f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>\n'
                      + "\n".join(self.parts) + "\n</svg>\n")


# ---- ratios --------------------------------------------------------------------------


def draw_ratios(picture, records, y):
    """One bar a row on a logarithmic axis; the mark is what must be reached. The y below
    it."""
    most = max([16] + [max(r["ratio"]["median"], r["bar"]) for r in records])
    room = WIDTH - LEFT - 70
    at = lambda v: LEFT + room * math.log(max(v, 0.25) / 0.25) / math.log(most / 0.25)
    picture.text(10, y, "times the fastest peer (mark: the bar to reach)", "t")
    top = y + 12
    bottom = top + ROW * len(records)
    for tick in (0.5, 1, 2, 4, 8, 16, 32, 64):
        if tick <= most:
            picture.line(at(tick), top, at(tick), bottom, "g")
            picture.text(at(tick), bottom + 13, tick, "s", "middle")
    for i, r in enumerate(records):
        y, ratio = top + ROW * i, r["ratio"]["median"]
        threads = f", {r['threads']} thr" if r["unit"] == "s" else ""
        picture.text(LEFT - 6, y + 13, f"{r['work']}{threads} / {r['peer']}", "", "end")
        colour = COLOURS[0] if r["reached"] else COLOURS[1]
        picture.rect(LEFT, y + 3, at(ratio) - LEFT, ROW - 6, colour)
        picture.line(at(r["bar"]), y + 1, at(r["bar"]), y + ROW - 1, "b")
        picture.text(max(at(ratio), at(r["bar"])) + 5, y + 13, f"{ratio:.2f}")
    return bottom + 40


# ---- curves --------------------------------------------------------------------------


def scale(values, low, high):
    """Logarithmic: the least value goes to low, the greatest to high."""
    first, last = math.log(min(values)), math.log(max(values))
    return lambda v: low + (high - low) * (math.log(v) - first) / ((last - first) or 1)


def draw_curve(picture, curve, x, y, width):
    bottom, right, left = y + PANEL_H - 50, x + width - 120, x + 50
    values = [v for s in curve["series"].values() for v in s]
    if min(values) <= 0:
        return
    at_x = scale(curve["x"], left, right)
    at_y = scale([*values, 10 ** math.floor(math.log10(min(values)))], bottom, y + 25)
    picture.text(x + 10, y, f"{curve['title']}: {curve['y_label']}", "t")
    for power in range(math.floor(math.log10(min(values))),
                       math.floor(math.log10(max(values))) + 1):
        picture.line(left, at_y(10 ** power), right, at_y(10 ** power), "g")
        picture.text(left - 5, at_y(10 ** power) + 4, f"{10.0 ** power:g}", "s", "end")
    for v in curve["x"]:
        picture.text(at_x(v), bottom + 15, v, "s", "middle")
    picture.text((left + right) / 2, bottom + 30, curve["x_label"], "s", "middle")
    for i, (name, series) in enumerate(curve["series"].items()):
        picture.path([(at_x(a), at_y(b)) for a, b in zip(curve["x"], series)], COLOURS[i])
        picture.text(right + 6, y + 30 + 15 * i, name)
        picture.rect(right + 6, y + 33 + 15 * i, 60, 2, COLOURS[i])


def draw(results, path):
    picture = Picture()
    picture.text(10, 20, f"seqd beside its peers: {results['machine']}", "t")
    picture.text(10, 36, results["note"], "s")
    timed = [r for r in results["rows"] if "skipped" not in r]
    y = draw_ratios(picture, timed, 60) if timed else 60
    for i, curve in enumerate(results["curves"]):
        draw_curve(picture, curve, WIDTH / 2 * (i % 2), y + PANEL_H * (i // 2), WIDTH / 2)
    picture.save(path, y + PANEL_H * math.ceil(len(results["curves"]) / 2) + 10)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as source:
        draw(json.load(source), sys.argv[2])
