"""Generates tokens with ftllm for benchmarks/peers.py; see there for the lines that it speaks."""

from __future__ import annotations

import json
import sys
import time

from ftllm import LLM, SamplingParams, __version__, _core


def main() -> None:
    job = json.loads(sys.argv[1])
    # Prompts are new each time, and the peer keeps no prefixes either.
    with LLM(
        job["model"],
        threads=job["threads"],
        tokens=job["context"],
        prefix_caching=False,
        progress=False,
    ) as llm:
        print(json.dumps({"name": f"ftllm {__version__} ({_core.isa()})"}), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            params = SamplingParams(
                temperature=0, max_tokens=request["max_tokens"], ignore_eos=True
            )
            times = []
            start = time.perf_counter()
            for delta in llm.stream(request["prompt"], params):
                times += [time.perf_counter() - start] * len(delta.token_ids)
            print(json.dumps({"times": times}), flush=True)


if __name__ == "__main__":
    main()
