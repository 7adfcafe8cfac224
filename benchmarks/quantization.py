"""What each weight format costs in accuracy: perplexity, and KL divergence from float32 weights.

    python benchmarks/quantization.py MODEL [--formats NAME …] [--tokens 2048] [--folder FOLDER]
                                      [--peer_python PYTHON] [--markdown]

MODEL is one GGUF file. Its weights, dequantized to float32, are the reference; the text is Python's
own standard library. Two kinds of rows:

- GGUF types (Q4_0 …): llama.cpp quantizes the float32 file, every matrix of a layer to that type
  and the embedding to Q8_0; ftllm and llama.cpp read the same file. Where a row's length is no
  multiple of 256, llama.cpp takes a larger type instead of a K or IQ one.
- values of --dtype (int4g …): ftllm quantizes the float32 file while loading.

Both engines keep K and V in float16 and quantize activations to 8 bits for matrices of few bits.
Results are added to FOLDER/results.json as they come, so that a run which is stopped goes on where
it was; the GGUF files and the reference's logits (0.6 MB a token) are kept there, too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
from float32_copy import matrix_columns, write_float32_copy
from next_token import PASSAGE, Distance, Float32Array, Model, Passage, Reference, library_passages
from peer_environments import LLAMA_CPP, environment
from report import print_markdown, print_report

from ftllm.progress import SilentProgress
from ftllm.sources.cache import cache_root
from ftllm.sources.resolve import resolve

GGUF_TYPES = (
    "Q8_0", "Q6_K", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS",
    "MXFP4_MOE", "Q3_K_S", "IQ3_S", "IQ3_XXS", "Q2_K_S", "IQ2_S", "IQ2_XS", "IQ2_XXS",
    "IQ1_M", "IQ1_S",
)  # fmt: skip
DTYPES = (
    "float32", "bfloat16", "float16", "fp8", "int8", "int4g32", "int4g64", "int4g", "int4z32",
    "int4z64", "int4z", "int4", "q8_0", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_1", "q4_0",
    "iq4_nl", "iq4_xs", "mxfp4", "nvfp4", "q3_k", "q2_k",
)  # fmt: skip
_WORKER = str(Path(__file__).with_name("logits_worker_llama_cpp.py"))


class Results:
    """Distances by engine, format and text length, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, dict[str, float]] = {}
        if path.exists():
            self._found = json.loads(path.read_text())

    def get(self, engine: str, form: str, tokens: int) -> Distance | None:
        found = self._found.get(f"{engine} {form} {tokens}")
        if found is None:
            return None
        return Distance(
            int(found["tokens"]), found["loss"], found["divergence"], int(found["same_top"])
        )

    def put(self, engine: str, form: str, tokens: int, result: Distance) -> None:
        self._found[f"{engine} {form} {tokens}"] = asdict(result)
        self._path.write_text(json.dumps(self._found, indent=1))


@contextmanager
def peer_reader(
    python: str, model: Path, *, logits: Path, threads: int
) -> Iterator[Callable[[Passage], Float32Array]]:
    """Logits that llama.cpp gives; they come through the file `logits`."""
    job = {"model": str(model), "context": PASSAGE, "threads": threads, "logits": str(logits)}
    process = subprocess.Popen(
        [python, _WORKER, json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def answer() -> object:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"llama.cpp's process stopped with code {process.wait()}.")
        return json.loads(line)

    def read(passage: Passage) -> Float32Array:
        assert process.stdin is not None
        process.stdin.write(json.dumps(passage) + "\n")
        process.stdin.flush()
        rows = answer()
        assert isinstance(rows, list)
        return np.fromfile(logits, np.float32).reshape(rows)

    with process:
        answer()
        try:
            yield read
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait()
            logits.unlink(missing_ok=True)


class Measurement:
    """One model, its text and where results go."""

    def __init__(self, options: argparse.Namespace, model: Path, folder: Path) -> None:
        self._folder = folder
        self._threads: int = options.threads
        self._peer_python: str | None = options.peer_python
        self._source = folder / "F32.gguf"
        if not self._source.exists():
            write_float32_copy(model, self._source)
        self._results = Results(folder / "results.json")
        passages = library_passages(model, options.tokens)
        self.tokens = len(passages) * PASSAGE
        self._reference = Reference(self._source, passages, folder=folder, threads=options.threads)

    def row(self, form: str) -> dict[str, object]:
        """A line of the table."""
        file = self._file(form) if form in GGUF_TYPES else self._source
        dtype = "auto" if form in GGUF_TYPES else form
        ours = self._results.get("ftllm", form, self.tokens) or self._measure_ours(
            form, file, dtype
        )
        row = _cells(form, ours)
        peer: Distance | None = None
        if form in GGUF_TYPES or form == "float32":
            peer = self._results.get("llama.cpp", form, self.tokens) or self._measure_peer(
                form, file
            )
        row["KL, llama.cpp"] = _mean(peer.divergence, peer) if peer else "-"
        row["ratio"] = "-"
        if peer and peer.divergence > 1e-5 * peer.tokens:
            row["ratio"] = f"{ours.divergence / peer.divergence:.3f}"
        row["perplexity, llama.cpp"] = f"{_perplexity(peer):.4f}" if peer else "-"
        return row

    def _measure_ours(self, form: str, file: Path, dtype: str) -> Distance:
        start = time.perf_counter()
        model = Model(file, dtype=dtype, kv_cache_dtype="float16", threads=self._threads)
        loaded = time.perf_counter()
        result = self._reference.compare(model.read)
        self._keep("ftllm", form, result, loaded - start, time.perf_counter() - loaded)
        return result

    def _measure_peer(self, form: str, file: Path) -> Distance:
        start = time.perf_counter()
        logits = self._folder / "peer.f32"
        with peer_reader(self._peer(), file, logits=logits, threads=self._threads) as read:
            loaded = time.perf_counter()
            result = self._reference.compare(read)
        self._keep("llama.cpp", form, result, loaded - start, time.perf_counter() - loaded)
        return result

    def _keep(
        self, engine: str, form: str, result: Distance, loading: float, reading: float
    ) -> None:
        self._results.put(engine, form, self.tokens, result)
        print(
            f"{form} in {engine}: KL {_mean(result.divergence, result)}, loaded in {loading:.1f} s,"
            f" read in {reading:.0f} s",
            file=sys.stderr,
        )

    def _peer(self) -> str:
        if self._peer_python is None:
            self._peer_python = environment(LLAMA_CPP)
        return self._peer_python

    def _file(self, form: str) -> Path:
        """The float32 file quantized by llama.cpp."""
        target = self._folder / f"{form}.gguf"
        if not target.exists():
            part = self._folder / "part.gguf"
            job = {
                "source": str(self._source),
                "target": str(part),
                "type": form,
                "columns": matrix_columns(self._source) if form.startswith("IQ") else {},
            }
            subprocess.run(
                [self._peer(), _WORKER, json.dumps(job)], check=True, stderr=subprocess.DEVNULL
            )
            part.rename(target)
        return target


def _mean(value: float, of: Distance) -> str:
    return f"{value / of.tokens:.5f}"


def _perplexity(of: Distance) -> float:
    return float(np.exp(of.loss / of.tokens))


def _cells(form: str, ours: Distance) -> dict[str, object]:
    return {
        "format": form,
        "tokens": ours.tokens,
        "perplexity": f"{_perplexity(ours):.4f}",
        "KL": _mean(ours.divergence, ours),
        "same first choice": f"{100 * ours.same_top / ours.tokens:.1f} %",
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL that is one GGUF file")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--formats", nargs="+", default=[*GGUF_TYPES, *DTYPES])
    parser.add_argument("--tokens", type=int, default=4 * PASSAGE, help=f"up to whole {PASSAGE}s")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer_python", help=f"a Python that has {LLAMA_CPP}")
    parser.add_argument("--folder", type=Path, help="for files and results")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    files = resolve(
        options.model,
        cache_dir=None,
        revision=None,
        models_file=options.models_file,
        progress=SilentProgress(),
    )
    folder = options.folder or cache_root(None) / "benchmarks" / f"quantization-{files.name}"
    folder.mkdir(parents=True, exist_ok=True)
    measurement = Measurement(options, files.path, folder)
    rows = [measurement.row(form) for form in options.formats]
    title = f"{files.name}, {measurement.tokens} tokens, float32 weights beside each format"
    if options.markdown:
        print_markdown(rows)
    else:
        print_report(title, rows, as_json=options.json)


if __name__ == "__main__":
    main()
