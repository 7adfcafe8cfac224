"""Limits of keys and TLS, on the real server, with the real SDKs."""

from __future__ import annotations

import os
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from running_server import RunningServer

from ftllm.server.tls_files import TlsFiles

from .servers import MODELS_FILE, ServerFactory, sdk, wait_until_idle

pytestmark = pytest.mark.e2e

KEYS = """\
- name: alice
  key: sk-alice
  requests_per_minute: {requests}
  tokens_per_minute: 3000
  max_concurrency: 1
"""


def test_the_sdks_see_the_limits_of_their_key(serving: ServerFactory, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(KEYS.format(requests=4))
    options = ("--tokens", "2048", "--api_key_file", str(file))
    with serving("smollm2-135m", *options) as server, sdk(server, api_key="sk-alice") as client:
        raw = client.completions.with_raw_response.create(
            model="smollm2-135m", prompt="One, two,", max_tokens=5
        )
        answer = raw.parse()
        assert answer.usage is not None
        assert raw.headers["x-ratelimit-remaining-requests"] == "3"
        left = 3000 - answer.usage.total_tokens
        assert raw.headers["x-ratelimit-remaining-tokens"] == str(left)

        with client.completions.create(
            model="smollm2-135m", prompt="One,", max_tokens=500, stream=True
        ) as stream:
            next(iter(stream))
            with pytest.raises(openai.RateLimitError) as caught:
                client.completions.create(model="smollm2-135m", prompt="One,", max_tokens=1)
            assert caught.value.code == "rate_limit_exceeded"
            assert "1 requests running" in caught.value.message
            assert int(caught.value.response.headers["retry-after"]) >= 1
        wait_until_idle(server)

        with anthropic.Anthropic(base_url=server.url, api_key="sk-alice", max_retries=0) as claude:
            ask = claude.messages.with_raw_response.create
            for _ in range(2):
                message = ask(
                    model="smollm2-135m", max_tokens=4, messages=[{"role": "user", "content": "Hi"}]
                )
            assert message.headers["anthropic-ratelimit-requests-remaining"] == "0"
            with pytest.raises(anthropic.RateLimitError):
                ask(
                    model="smollm2-135m", max_tokens=4, messages=[{"role": "user", "content": "Hi"}]
                )
        with pytest.raises(openai.RateLimitError, match="4 requests per minute, and has sent 4"):
            client.completions.create(model="smollm2-135m", prompt="One,", max_tokens=1)

        file.write_text(KEYS.format(requests=5))  # what was used still counts
        os.kill(server.pid, signal.SIGHUP)
        deadline = time.monotonic() + 10
        while "read the API keys again" not in server.log():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        raw = client.completions.with_raw_response.create(
            model="smollm2-135m", prompt="One,", max_tokens=1
        )
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"


def test_neither_waiting_nor_answering_takes_for_ever(serving: ServerFactory) -> None:
    options = ("--tokens", "8192", "--max_batch", "1")
    timeouts = ("--queue_timeout", "0.5", "--request_timeout", "8")
    with serving("smollm2-135m", *options, *timeouts) as server, sdk(server) as client:
        with client.completions.create(
            model="smollm2-135m",
            prompt="One,",
            max_tokens=8000,
            stream=True,
            extra_body={"ignore_eos": True},
        ) as stream:
            chunks = iter(stream)
            next(chunks)
            with pytest.raises(openai.InternalServerError) as caught:
                client.completions.create(model="smollm2-135m", prompt="One,", max_tokens=1)
            assert caught.value.status_code == 503
            assert caught.value.code == "queue_timeout"
            assert int(caught.value.response.headers["retry-after"]) >= 1
            with pytest.raises(openai.APIError, match="8 s after the request came"):
                for _ in chunks:
                    pass
        wait_until_idle(server)
        assert client.completions.create(model="smollm2-135m", prompt="One,", max_tokens=1)


def test_tls_with_certificates_on_both_sides(
    certificate: TlsFiles, model_file: Callable[[str], Path], tmp_path: Path
) -> None:
    model_file("smollm2-135m")
    assert certificate.keyfile is not None
    trusting = ssl.create_default_context(cafile=str(certificate.certfile))
    known = ssl.create_default_context(cafile=str(certificate.certfile))
    known.load_cert_chain(certificate.certfile, certificate.keyfile)
    arguments = ["smollm2-135m", "--models_file", str(MODELS_FILE), "--tokens", "2048"]
    arguments += ["--ssl_certfile", str(certificate.certfile)]
    arguments += ["--ssl_keyfile", str(certificate.keyfile)]
    arguments += ["--ssl_ca_certs", str(certificate.certfile)]
    with RunningServer(arguments, log=tmp_path / "log", tls=known) as server:
        assert server.url.startswith("https://")
        with httpx.Client(verify=known) as transport:
            client = openai.OpenAI(
                base_url=f"{server.url}/v1", api_key="none", http_client=transport, max_retries=0
            )
            answer = client.completions.create(model="smollm2-135m", prompt="One,", max_tokens=2)
            assert answer.choices[0].text
        for context in (trusting, ssl.create_default_context()):
            with pytest.raises(httpx.TransportError), httpx.Client(verify=context) as stranger:
                stranger.get(f"{server.url}/live")
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https://", "http://"))
        assert server.stop() == 0
