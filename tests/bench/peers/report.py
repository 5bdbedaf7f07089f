"""The table on the terminal."""

WIDTHS = (34, 38, 3, 22, 22, 17, 4, 7, 16)
HEADS = ("part", "work", "thr", "ours (min..max)", "peer (min..max)", "ratio (min..max)",
         "bar", "", "of ceiling")
SCALES = ((1, "s"), (1e-3, "ms"), (1e-6, "us"))


def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def figure(f, unit):
    """Median, min and max; seconds in a unit that suits them."""
    if unit.endswith("in s"):
        unit = "s"
    scale, name = 1, ""
    if unit == "s":
        scale, name = next((s for s in SCALES if f["median"] >= s[0]), SCALES[-1])
    low, mid, high = (number(f[k] / scale) for k in ("min", "median", "max"))
    return f"{mid}{name} ({low}..{high})"


def line(cells):
    return " ".join(str(c)[:w].ljust(w) for c, w in zip(cells, WIDTHS)).rstrip()


def ceiling_of(record):
    ceiling = record.get("ceiling")
    if not ceiling:
        return ""
    kind = "FMA" if ceiling["kind"] == "fma" else "memory"
    mark = "" if ceiling["bar"] is None else " ok" if ceiling["reached"] else " MISSED"
    return f"{100 * ceiling['share']:.0f}% {kind}{mark}"


def show_header():
    print(line(HEADS), flush=True)


def show(record):
    if "skipped" in record:
        print(line((record["part"], record["work"])) + f"  skipped: {record['skipped']}",
              flush=True)
        return
    ratio, peer = record["ratio"], record["peers"][record["peer"]]
    spread = f"{ratio['median']:.2f} ({ratio['min']:.2f}..{ratio['max']:.2f})"
    print(line((record["part"], record["work"], record["threads"],
                figure(record["ours"], record["unit"]), figure(peer, record["unit"]),
                spread, record["bar"], "reached" if record["reached"] else "MISSED",
                ceiling_of(record))), flush=True)


def show_curve(curve):
    print(f"\n{curve['title']}: {curve['y_label']}")
    print(line_of(curve["x_label"], curve["x"]))
    for name, values in curve["series"].items():
        print(line_of(name, values), flush=True)


def line_of(name, values):
    return f"{name:24}" + "".join(f"{number(v):>8}" for v in values)


def show_sum(records):
    timed = [r for r in records if "skipped" not in r]
    reached = sum(r["reached"] for r in timed)
    held = [r["ceiling"] for r in timed if r.get("ceiling", {}).get("bar") is not None]
    print(f"\n{reached} of {len(timed)} bars beside peers reached, "
          f"{sum(c['reached'] for c in held)} of {len(held)} shares of a ceiling; "
          f"{len(records) - len(timed)} rows skipped")
