"""Speed of any OpenAI-compatible endpoint, as many streaming clients at once see it."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ftllm.cli.spread import percentile
from ftllm.errors import FtllmError, OptionError

_FEW_WORDS = 10
_MANY_WORDS = 200
_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
_WORDS = (
    *("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world"),
    *("school", "state", "family", "student", "group", "country", "problem", "hand", "part"),
    *("place", "case", "week", "company", "system", "program", "question", "work", "number"),
    *("night", "point", "home", "water", "room", "mother", "area", "money", "story", "month"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to send: `requests` prompts, at most `concurrency` at a time."""

    model: str | None  # None: the first that the endpoint lists
    concurrency: int
    requests: int
    prompt_tokens: int
    max_tokens: int
    chat: bool = False  # chat completions instead of completions


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Seconds from when it was sent."""

    chunks: list[float] = field(default_factory=list)  # when each piece of text came
    prompt_tokens: int | None = None
    output_tokens: int | None = None  # None: the endpoint does not say
    end: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What all clients saw together. Seconds, and tokens a second."""

    model: str
    requests: int
    failed: int
    first_error: str | None
    seconds: float
    prompt_tokens: int
    output_tokens: int
    output_rate: float
    total_rate: float  # prompt and output tokens
    first_token_p50: float
    first_token_p95: float
    gap_p50: float  # between the pieces of one answer
    gap_p95: float
    request_p50: float
    request_p95: float


class Endpoint:
    """An OpenAI-compatible server at `url`, with or without its /v1. Thread-safe."""

    def __init__(self, url: str, *, api_key: str | None, timeout: float) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise OptionError(f"--url is {url!r}; give an address such as http://127.0.0.1:8080")
        try:
            self._port = parts.port
        except ValueError as error:
            raise OptionError(f"--url is {url!r}: {error}") from None
        self.url = url
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        path = parts.path.rstrip("/")
        self._path = path if path.endswith("/v1") else f"{path}/v1"
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._timeout = timeout

    def first_model(self) -> str:
        """The name of the first model that it lists. Raises `FtllmError`."""
        models = self._json("GET", "/models", None).get("data")
        if not isinstance(models, list) or not models or "id" not in models[0]:
            raise FtllmError(f"{self.url} lists no model; name one as MODEL")
        return str(models[0]["id"])

    def prompt_tokens(self, route: str, body: Mapping[str, object]) -> int:
        """How many tokens the server counts in a request's prompt. Raises `FtllmError`."""
        usage = self._json("POST", route, {**body, "max_tokens": 1, "stream": False}).get("usage")
        count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if not isinstance(count, int) or count < 1:
            raise FtllmError(f"{self.url} does not say how many tokens a prompt has (usage)")
        return count

    def stream(self, route: str, body: Mapping[str, object]) -> Exchange:
        """One streamed request; what goes wrong is in `Exchange.error`."""
        exchange = Exchange()
        begin = time.perf_counter()
        try:
            connection, response = self._open("POST", route, {**body, **_STREAMED})
            try:
                for event in _events(response):
                    _take(event, exchange, time.perf_counter() - begin)
            finally:
                connection.close()
            if not exchange.chunks and exchange.error is None:
                exchange.error = "the answer has no text"
        except FtllmError as error:
            exchange.error = str(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            exchange.error = f"{type(error).__name__}: {error}"
        exchange.end = time.perf_counter() - begin
        return exchange

    def _json(
        self, method: str, route: str, body: Mapping[str, object] | None
    ) -> dict[str, object]:
        try:
            connection, response = self._open(method, route, body)
            try:
                content = json.loads(response.read())
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FtllmError(f"{self.url} cannot be used: {error}") from error
        if not isinstance(content, dict):
            raise FtllmError(f"{self.url}{route} answered {content!r}, not an object")
        return content

    def _open(
        self, method: str, route: str, body: Mapping[str, object] | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout)
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, self._path + route, content, self._headers)
            response = connection.getresponse()
            if response.status != 200:
                text = response.read(2000).decode("utf-8", "replace").strip()
                raise FtllmError(f"{self.url}: HTTP {response.status} for {route}: {text}")
        except BaseException:
            connection.close()
            raise
        return connection, response


def run_load(endpoint: Endpoint, plan: LoadPlan) -> LoadResult:
    """Raises `FtllmError` when the endpoint cannot be used or no request succeeds."""
    model = plan.model or endpoint.first_model()
    writer = _PromptWriter(plan)
    words = _words_of(endpoint, writer, model, plan.prompt_tokens)
    bodies = [writer.body(model, words) for _ in range(plan.requests)]
    exchanges: list[Exchange] = []
    turns = itertools.count()  # next() of it is one step of the interpreter

    def client() -> None:
        while (turn := next(turns)) < len(bodies):
            exchanges.append(endpoint.stream(*bodies[turn]))

    begin = time.perf_counter()
    clients = [threading.Thread(target=client, daemon=True) for _ in range(plan.concurrency)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return _result(model, exchanges, time.perf_counter() - begin)


def _words_of(endpoint: Endpoint, writer: _PromptWriter, model: str, tokens: int) -> int:
    """How many words make a prompt of `tokens`: from tokens a word, and what a chat template adds,
    as two prompts tell that are hardly longer than what is asked for."""
    few = endpoint.prompt_tokens(*writer.body(model, _FEW_WORDS))
    length = min(_MANY_WORDS, max(2 * _FEW_WORDS, tokens * _FEW_WORDS // few))
    many = endpoint.prompt_tokens(*writer.body(model, length))
    per_word = max(0.1, (many - few) / (length - _FEW_WORDS))
    return max(1, round(length + (tokens - many) / per_word))


class _PromptWriter:
    """Prompts that share no beginning, so that no server has them in a cache."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._random = random.Random()

    def body(self, model: str, words: int) -> tuple[str, dict[str, object]]:
        text = " ".join(self._random.choices(_WORDS, k=words))
        body: dict[str, object] = {
            "model": model,
            "max_tokens": self._plan.max_tokens,
            "temperature": 0,
            "ignore_eos": True,  # an extension that many servers know: all answers equally long
        }
        if self._plan.chat:
            return "/chat/completions", {**body, "messages": [{"role": "user", "content": text}]}
        return "/completions", {**body, "prompt": text}


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, object]]:
    """The JSON objects of a stream of server-sent events."""
    for line in response:
        name, _, data = line.strip().partition(b":")
        if name != b"data" or data.strip() in (b"", b"[DONE]"):
            continue
        event = json.loads(data)
        if isinstance(event, dict):
            yield event


def _take(event: Mapping[str, object], exchange: Exchange, now: float) -> None:
    error = event.get("error")
    if error is not None:
        exchange.error = str(error.get("message", error) if isinstance(error, dict) else error)
    usage = event.get("usage")
    if isinstance(usage, dict):
        exchange.prompt_tokens = usage.get("prompt_tokens")
        exchange.output_tokens = usage.get("completion_tokens")
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") or {}
        parts = (choice.get("text"), *(delta.get(k) for k in ("content", "reasoning_content")))
        if any(parts):
            exchange.chunks.append(now)


def _result(model: str, exchanges: list[Exchange], seconds: float) -> LoadResult:
    good = [exchange for exchange in exchanges if exchange.error is None]
    errors = [exchange.error for exchange in exchanges if exchange.error is not None]
    if not good:
        raise FtllmError(f"No request succeeded; the first error: {errors[0]}")
    output = sum(exchange.output_tokens or len(exchange.chunks) for exchange in good)
    prompt = sum(exchange.prompt_tokens or 0 for exchange in good)
    first = [exchange.chunks[0] for exchange in good]
    gaps = [b - a for exchange in good for a, b in itertools.pairwise(exchange.chunks)]
    ends = [exchange.end for exchange in good]
    return LoadResult(
        model=model,
        requests=len(exchanges),
        failed=len(errors),
        first_error=errors[0] if errors else None,
        seconds=seconds,
        prompt_tokens=prompt,
        output_tokens=output,
        output_rate=output / seconds,
        total_rate=(prompt + output) / seconds,
        first_token_p50=percentile(first, 0.50),
        first_token_p95=percentile(first, 0.95),
        gap_p50=percentile(gaps, 0.50),
        gap_p95=percentile(gaps, 0.95),
        request_p50=percentile(ends, 0.50),
        request_p95=percentile(ends, 0.95),
    )
