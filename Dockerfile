# syntax=docker/dockerfile:1
# One file for x86-64 and 64-bit Arm: CMake takes the instruction sets of the platform it builds for,
# and the program takes the best one of the processor it starts on.
#   docker build -t ftllm .
#   docker buildx build --platform linux/amd64,linux/arm64 -t ftllm .

ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
# GCC 12 is Debian 12's; CMake and Ninja come as build requirements from the package index.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++=4:12.2.0-* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml CMakeLists.txt README.md LICENSE ./
COPY csrc csrc
COPY ftllm ftllm
COPY engine engine
COPY sources sources
COPY text text
COPY tool_parsers tool_parsers
COPY server server
COPY cli cli
COPY deploy deploy
# pip stays in the environment: it fetches `pypi:` models.
RUN python -m venv /opt/ftllm \
    && python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/ftllm/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[otel]"

FROM ${PYTHON_IMAGE} AS runtime
LABEL org.opencontainers.image.title="ftllm" \
      org.opencontainers.image.description="LLM inference server with an OpenAI-compatible API" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, so that Kubernetes can see that it is not root (runAsNonRoot).
RUN groupadd --gid 10001 ftllm \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ftllm \
    && install -d -o 10001 -g 10001 /cache
COPY --from=builder /opt/ftllm /opt/ftllm
# Only /cache and /tmp are written to, so the root can be read-only. No .pyc files at run time:
# pip compiled them.
ENV PATH=/opt/ftllm/bin:$PATH \
    FTLLM_CACHE=/cache \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /cache
EXPOSE 8080
# /live: the port opens when the model is loaded, which may take a download.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 \
    CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/live'); sys.exit(c.getresponse().status != 200)"]
# Model and flags follow: docker run ftllm Qwen/Qwen3-0.6B --max_batch 16
ENTRYPOINT ["ftllm", "server", "--host", "0.0.0.0"]
