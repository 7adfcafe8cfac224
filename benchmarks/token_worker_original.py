"""Generates tokens with the original ftllm 1.9, in an environment of its own: its package has the
import name of this one. It runs as its own `generate` does; its library prints, and so the lines
of the worker have a file descriptor for themselves."""

from __future__ import annotations

import ctypes
import json
import sys
import time

from worker_lines import take_stdin, take_stdout

_KV_TOKENS = 8192
_REQUESTS, _LINES = take_stdin(), take_stdout()

from ftllm import llm  # noqa: E402 (what it prints at import goes to stderr)


class Decoder:
    def __init__(self, job: dict[str, object]) -> None:
        threads = job["threads"]
        assert isinstance(threads, int)
        llm.set_cpu_threads(threads)
        llm.set_device_map("cpu")
        llm.set_max_tokens(_KV_TOKENS)  # its KV cache is small otherwise
        self._model = llm.model(str(job["model"]), dtype=str(job["dtype"]))

    def run(self, prompts: list[list[int]], max_tokens: int) -> list[list[float]]:
        """Seconds from now to each token of each prompt, as they are fetched in turn."""
        library, model = llm.fastllm_lib, self._model.model
        start = time.perf_counter()
        handles = [
            library.launch_response_llm_model(
                model,
                len(prompt),
                (ctypes.c_int * len(prompt))(*prompt),
                max_tokens,
                0,  # at least; a random model's greedy token is hardly ever the end
                False,  # greedy
                1.0,
                1,
                1.0,
                1.0,
                False,
                0,
                None,
            )
            for prompt in prompts
        ]
        times: list[list[float]] = [[] for _ in prompts]
        for _ in range(max_tokens + 1):  # the last fetch ends a request
            for handle, stream in zip(handles, times, strict=True):
                if library.fetch_response_llm_model(model, handle) >= 0:
                    stream.append(time.perf_counter() - start)
        return times


def main() -> None:
    job = json.loads(sys.argv[1])
    decoder = Decoder(job)
    print(json.dumps({"name": f"ftllm {job['version']}"}), file=_LINES)
    for line in _REQUESTS:
        request = json.loads(line)
        times = decoder.run(request["prompts"], request["max_tokens"])
        print(json.dumps({"times": times}), file=_LINES)


if __name__ == "__main__":
    main()
