"""Generates tokens with llama-cpp-python for benchmarks/peers.py, in an environment of its own."""

from __future__ import annotations

import itertools
import json
import sys
import time

import llama_cpp


def main() -> None:
    job = json.loads(sys.argv[1])
    model = llama_cpp.Llama(
        job["model"],
        n_ctx=job["context"],
        n_threads=job["threads"],
        n_threads_batch=job["threads"],
        verbose=False,
    )
    print(json.dumps({"name": f"llama-cpp-python {llama_cpp.__version__}"}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        model.reset()  # forgets the last prompt
        times = []
        start = time.perf_counter()
        tokens = model.generate(request["prompt"], temp=0.0)
        for _ in itertools.islice(tokens, request["max_tokens"]):
            times.append(time.perf_counter() - start)
        tokens.close()
        print(json.dumps({"times": times}), flush=True)


if __name__ == "__main__":
    main()
