#!/usr/bin/env python3
"""Attribution on a GPU: rate, share of the device's own product rate, agreement with the CPU.

    gpu.py [--prompts 4096] [--agree 64] [--device cuda|cpu] [--out build/bench-gpu.json]

The model is that of `make bench` (BERT-base's shape, 11-token prompts), the rule the default one.
The scores of the first prompts are compared with the CPU's before anything is timed: float32 must
agree within 1e-4 of a prompt's largest |score| (other kernels add up in another order); the error
of TF32 is printed, not judged. `--device cpu` measures the same on the CPU, which checks this script
where there is no GPU.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import run as bench

PAPER_PROMPTS = 253_448
AIM_SECONDS = 180


class GpuBench(bench.Bench):
    def scores(self, *options) -> tuple[np.ndarray, float]:
        """-> [prompts, layers, d_ff] of the first prompts, 95th percentile of their gaps."""
        file = self.scratch / "gpu.f32"
        found = self.attribute_on(self.options.agree, *options, "--scores", file)
        scores = np.fromfile(file, "<f4").reshape(-1, found["layers"], found["d_ff"])
        file.unlink()
        return scores, float(np.percentile(found["relative_gaps"], 95))

    def attribute_on(self, prompts: int, *options) -> dict:
        return self.ours("attribute", self.checkpoint, "--facts", self.checkpoint / "facts.jsonl",
                         "--prompts", prompts, *options)

    def measure(self) -> None:
        self.make_checkpoint()
        device = ["--device", self.options.device]
        kinds = {"fp32": device}
        if self.options.device == "cuda":
            kinds["tf32"] = [*device, "--tf32"]
        cpu, _ = self.scores()
        lines = [["", "prompts/s", "GFLOP/s", "of the product rate", "gap p95", "error: median",
                  "largest", f"{PAPER_PROMPTS:,} prompts"]]
        for kind, options in kinds.items():
            scores, gap = self.scores(*options)
            error = bench.difference(scores, cpu)
            if kind == "fp32" and not error.max() < 1e-4:
                raise bench.Failure(f"scores on {self.options.device} differ from the CPU's by "
                                    f"{error.max():.2g} of the largest, expected under 1e-4")
            roof = self.ours("sgemm", *options)["best_gflops"]
            found = self.attribute_on(self.options.prompts, *options)
            rate = self.options.prompts / found["seconds"]
            gflops = found["flops"] / found["seconds"] / 1e9
            result = {"prompts_per_second": rate, "gflops": gflops, "best_gflops": roof,
                      "roofline_fraction": gflops / roof, "gap_p95": gap, "error_median": float(np.median(error)), "error_max": float(error.max()),
                      "unconverged": found["unconverged"], "paper_seconds": PAPER_PROMPTS / rate}
            self.result[kind] = result
            lines.append([kind, f"{rate:.1f}", f"{gflops:,.0f}",
                          f"{result['roofline_fraction']:.2f}", f"{result['gap_p95']:.4f}",
                          f"{result['error_median']:.1e}", f"{result['error_max']:.1e}",
                          f"{result['paper_seconds']:,.0f} s (extrapolated; aim with TF32: "
                          f"{AIM_SECONDS} s)"])
        bench.print_table(lines)

    def write(self) -> None:
        self.result |= {"device": self.options.device, "prompts": self.options.prompts,
                        "seconds_in_all": time.monotonic() - self.start}
        self.options.out.write_text(json.dumps(bench.without_nan(self.result), indent=1) + "\n",
                                    "utf-8")
        self.say(f"wrote {self.options.out}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--prompts", type=int, default=4096)
    parser.add_argument("--agree", type=int, default=64)
    parser.add_argument("--out", type=Path, default=bench.ROOT / "build/bench-gpu.json")
    parser.add_argument("--program", type=Path, default=bench.ROOT / "build/release/bin/engram-bench")
    parser.add_argument("--scratch", type=Path, default=bench.ROOT / "build/bench")
    options = parser.parse_args()
    try:
        measuring = GpuBench(options)
        measuring.measure()
        measuring.write()
    except bench.Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
