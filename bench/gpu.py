#!/usr/bin/env python3
"""Attribution on a GPU: rate, share of the device's own product rate, agreement with the CPU.

    gpu.py [--prompts 4096] [--agree 64] [--device cuda|cpu] [--out build/bench-gpu.json]

The model is that of `make bench` (BERT-base's shape, 11-token prompts), the rule the default one.
The scores of the first prompts are compared with the CPU's before anything is timed: float32 must
agree as closely as two programs of `make bench` (other kernels add up in another order); the error
of TF32 is printed, not judged. `--device cpu` measures the same on the CPU, which checks this
script where there is no GPU.
"""

import argparse
import sys
from pathlib import Path

import measuring as bench
import numpy as np

AIM_SECONDS = 180  # for the paper's prompts, with TF32


class GpuBench(bench.Bench):
    def on_device(self, prompts: int, scores: str = "", options=()) -> dict:
        return self.attribute(self.checkpoint, "facts.jsonl", prompts, scores=scores, extra=options)

    def measure(self) -> None:
        self.make_checkpoint()
        device = ["--device", self.options.device]
        kinds = {"fp32": device}
        if self.options.device == "cuda":
            kinds["tf32"] = [*device, "--tf32"]
        cpu = self.on_device(self.options.agree, "gpu")["scores"]
        lines = [["", "prompts/s", "GFLOP/s", "share of products", "gap p95", "error: median",
                  "largest", f"{bench.PAPER_PROMPTS:,} prompts"]]
        for kind, options in kinds.items():
            few = self.on_device(self.options.agree, "gpu", options)
            error = bench.difference(few["scores"], cpu)
            if kind == "fp32" and not error.max() <= bench.AGREE:
                raise bench.Failure(f"scores on {self.options.device} differ from the CPU's by "
                                    f"{error.max():.1e}, allowed {bench.AGREE:.0e}")
            roof = self.ours("sgemm", *options)["best_gflops"]
            found = self.on_device(self.options.prompts, options=options)
            result = {"prompts_per_second": 1 / found["seconds_per_prompt"],
                      "gflops": found["gflops"], "best_gflops": roof,
                      "roofline_fraction": found["gflops"] / roof,
                      "gap_p95": float(np.percentile(few["relative_gaps"], 95)),
                      "error_median": float(np.median(error)), "error_max": float(error.max()),
                      "unconverged": found["unconverged"],
                      "paper_seconds": bench.PAPER_PROMPTS * found["seconds_per_prompt"]}
            self.result[kind] = result
            forms = {"prompts_per_second": ".1f", "gflops": ",.0f", "roofline_fraction": ".2f",
                     "gap_p95": ".4f", "error_median": ".1e", "error_max": ".1e",
                     "paper_seconds": ",.0f"}
            cells = [format(result[name], form) for name, form in forms.items()]
            cells[-1] += f" s, extrapolated (aim with TF32: {AIM_SECONDS} s)"
            lines.append([kind, *cells])
        self.result |= {"device": self.options.device, "prompts": self.options.prompts}
        bench.print_table(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--prompts", type=int, default=4096)
    parser.add_argument("--agree", type=int, default=64)
    parser.add_argument("--out", type=Path, default=bench.ROOT / "build/bench-gpu.json")
    parser.add_argument("--program", type=Path,
                        default=bench.ROOT / "build/release/bin/engram-bench")
    parser.add_argument("--scratch", type=Path, default=bench.ROOT / "build/bench")
    options = parser.parse_args()
    measuring = GpuBench(options)
    try:
        measuring.measure()
    except bench.Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    measuring.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
