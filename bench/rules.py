"""Error against cost of every quadrature rule: docs/images/rules.svg and a table.

    build/venv/bin/python bench/rules.py MODEL FACTS [--prompts 8] [--svg FILE] [--title TEXT]

Needs numpy only. The error of a prompt is the largest difference of a score from 64 Gauss-Legendre
nodes over all layers, divided by the prompt's largest |score|; the median over prompts is shown. Cost
is the closed form of docs/performance.md for the nodes used, relative to one plain forward.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
STEPS = {
    "riemann-left": [5, 10, 20, 40],
    "riemann-right": [5, 10, 20, 40],
    "linspace": [5, 10, 20, 40],
    "trapezoid": [5, 10, 20, 40],
    "gauss-legendre": [2, 3, 4, 5, 6, 8],
    "gauss-radau": [2, 3, 4, 5, 6, 8],
    "gauss-lobatto": [2, 3, 4, 5, 6, 8],
    "control-variate": [1, 2, 3, 4],
}
COLOURS = {
    "riemann-left": "#9c6b30", "riemann-right": "#c79a5b", "linspace": "#7a7a7a",
    "trapezoid": "#b0b0b0", "gauss-legendre": "#1f6f8b", "gauss-radau": "#3aa6a6",
    "gauss-lobatto": "#7fb7be", "control-variate": "#c2185b", "default (adaptive)": "#000000",
}


def measure(args, rule, steps):
    with tempfile.TemporaryDirectory() as folder:
        scores = Path(folder) / "scores"
        command = [str(args.program), "attribute", args.model, "--facts", args.facts, "--prompts",
                   str(args.prompts), "--rule", rule, "--scores", str(scores)]
        if steps:
            command += ["--steps", str(steps)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        values = np.fromfile(scores, dtype="<f4").reshape(
            found["prompts"], found["layers"], found["d_ff"])
    return found, values


def svg(points, title, path):
    width, height, left, bottom = 760, 460, 70, 60
    xs = [p["cost"] for p in points]
    ys = [max(p["error"], 1e-8) for p in points]
    x0, x1 = math.log10(min(xs)) - 0.05, math.log10(max(xs)) + 0.05
    y0, y1 = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    right = width - 190

    def place(cost, error):
        x = left + (math.log10(cost) - x0) / (x1 - x0) * (right - left)
        y = 40 + (y1 - math.log10(max(error, 1e-8))) / (y1 - y0) * (height - bottom - 40)
        return x, y

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           f'font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="22" font-size="14">{title}</text>']
    for power in range(y0, y1 + 1):
        _, y = place(10 ** x0, 10 ** power)
        out.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">1e{power}</text>')
    for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if x0 <= math.log10(tick) <= x1:
            x, _ = place(tick, 10 ** y1)
            out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="40" y2="{height - bottom}" '
                       f'stroke="#eee"/><text x="{x:.1f}" y="{height - bottom + 18}" '
                       f'text-anchor="middle">{tick}</text>')
    out.append(f'<text x="{(left + right) / 2}" y="{height - 16}" text-anchor="middle">'
               'cost of a prompt, in plain forwards</text>')
    out.append(f'<text transform="translate(16,{height / 2}) rotate(-90)" text-anchor="middle">'
               'error, share of the largest score</text>')
    for row, rule in enumerate(COLOURS):
        own = sorted((p for p in points if p["rule"] == rule), key=lambda p: p["cost"])
        colour = COLOURS[rule]
        places = [place(p["cost"], p["error"]) for p in own]
        if len(places) > 1:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            out.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        for (x, y), p in zip(places, own):
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{4 if len(own) > 1 else 7}" '
                       f'fill="{colour}"><title>{rule} {p["steps"] or ""}: {p["error"]:.1e}'
                       '</title></circle>')
        out.append(f'<circle cx="{right + 20}" cy="{60 + 20 * row}" r="4" fill="{colour}"/>'
                   f'<text x="{right + 30}" y="{64 + 20 * row}">{rule}</text>')
    out.append("</svg>")
    beside = path.with_suffix(".tmp")
    beside.write_text("\n".join(out) + "\n")
    os.replace(beside, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("facts")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/engram-bench")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--title", default="Error against cost of the quadrature rules")
    args = parser.parse_args()

    config = json.loads((Path(args.model) / "config.json").read_text())
    d = config.get("hidden_size", config.get("dim"))
    f = config.get("intermediate_size", config.get("hidden_dim"))
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    _, truth = measure(args, "gauss-legendre", 64)
    largest = np.abs(truth).max(axis=(1, 2))
    points = []
    print(f"{'rule':<20}{'steps':>6}{'cost':>9}{'error: median':>15}{'90 %':>10}{'gap < 1 %':>11}")
    for rule, steps in [(r, s) for r, all_steps in STEPS.items() for s in all_steps] + [
            ("control-variate", None)]:
        found, scores = measure(args, rule, steps)
        tokens = found["tokens"]
        forward = layers * tokens * (8 * d * d + 4 * d * f + 4 * tokens * d) + 2 * d * config["vocab_size"]
        error = np.abs(scores - truth).max(axis=(1, 2)) / largest
        name = rule if steps else "default (adaptive)"
        point = {"rule": name, "steps": steps, "cost": found["flops"] / found["prompts"] / forward,
                 "error": float(np.median(error))}
        points.append(point)
        closed = float(np.mean(np.array(found["relative_gaps"]) < 0.01))
        print(f"{name:<20}{steps or '':>6}{point['cost']:>9.1f}{point['error']:>15.1e}"
              f"{np.quantile(error, 0.9):>10.1e}{closed:>10.0%}")
    if args.svg:
        svg(points, args.title, args.svg)


if __name__ == "__main__":
    main()
