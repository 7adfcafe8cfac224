"""A Ray of its own with applications of `ftllm.deploy.ray`, until it is told to stop.

    python benchmarks/ray_worker.py PORT '{"NAME": {"model": …}}'

What `serve run` does, without the dashboard and with one CPU, so that a small machine bears it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading

import ray
from ray import serve

from ftllm.deploy.ray import Arguments, app

CPUS = 1  # Ray starts as many idle workers


def main() -> None:
    port, applications = int(sys.argv[1]), json.loads(sys.argv[2])
    ray.init(num_cpus=CPUS, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    for name, arguments in applications.items():
        built = app(Arguments.model_validate(arguments))
        serve.run(built, name=name, route_prefix=f"/{name}", blocking=False)
    print("all applications run", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
