"""Quantizes and reads GGUF files with llama-cpp-python, in an environment of its own, for
benchmarks/quantization.py.

Its first argument is a job as JSON. {"source": F32 file, "target": new file, "type": name,
"columns": {tensor: values of a row}} quantizes every matrix to the type, the embedding to Q8_0.
{"model": file, "context": tokens, "threads": n, "logits": file} prints a line when it is ready;
then it reads one list of token ids a line, writes their float32 logits (T, V) to the file and
answers with T and V.
"""

from __future__ import annotations

import ctypes
import json
import sys

import llama_cpp
import numpy as np


def importance_of_ones(columns: dict[str, int]) -> object:
    """llama.cpp refuses to make its formats of 1 and 2 bits without an importance matrix."""
    kind = llama_cpp.llama_model_imatrix_data
    entries = (kind * (len(columns) + 1))()  # the last one, with no name, ends the list
    for entry, (name, count) in zip(entries, columns.items(), strict=False):
        entry.name = name.encode()
        entry.data = (ctypes.c_float * count)(*[1.0] * count)
        entry.size = count
    return entries


def quantize(job: dict[str, object]) -> None:
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{job['type']}")
    params.nthread = 2
    params.pure = True
    params.token_embedding_type = llama_cpp.GGML_TYPE_Q8_0
    params.output_tensor_type = llama_cpp.GGML_TYPE_Q8_0
    if job["columns"]:
        entries = importance_of_ones(job["columns"])
        params.imatrix = ctypes.cast(entries, type(params.imatrix))
    code = llama_cpp.llama_model_quantize(
        str(job["source"]).encode(), str(job["target"]).encode(), ctypes.byref(params)
    )
    if code != 0:
        raise SystemExit(f"llama_model_quantize to {job['type']} failed with code {code}.")


def read(job: dict[str, object]) -> None:
    model = llama_cpp.Llama(
        job["model"],
        n_ctx=job["context"],
        n_batch=job["context"],
        n_ubatch=job["context"],
        n_threads=job["threads"],
        n_threads_batch=job["threads"],
        logits_all=True,
        verbose=False,
    )
    print(json.dumps({"name": f"llama-cpp-python {llama_cpp.__version__}"}), flush=True)
    for line in sys.stdin:
        ids = json.loads(line)
        model.reset()
        model.eval(ids)
        rows = np.asarray(model.scores[: len(ids)], np.float32)
        rows.tofile(job["logits"])
        print(json.dumps(rows.shape), flush=True)


def main() -> None:
    job = json.loads(sys.argv[1])
    if "type" in job:
        quantize(job)
    else:
        read(job)


if __name__ == "__main__":
    main()
