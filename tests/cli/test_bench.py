"""`ftllm bench` on a tiny model of random weights, and against endpoints without a model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import pytest
from random_models import Shape, random_model
from running_server import RunningServer
from typer.testing import CliRunner, Result

from ftllm.cli.main import app
from ftllm.cli.speed_test import SpeedCase, SpeedTest
from ftllm.cli.spread import Spread, percentile
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.request import FinishedEvent, FinishReason, Request, Sink
from ftllm.errors import FtllmError
from tests.cli.endpoint import FakeEndpoint

TINY = Shape(
    layers=2,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=16,
    vocabulary=300,
    tied=True,
    intermediate=96,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(random_model(TINY, "q8_0", folder=tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def real_server(model: str) -> Iterator[RunningServer]:
    limits = ["--tokens", "2048", "--max_model_len", "512", "--api_key", "secret"]
    with RunningServer([model, "--model_name", "tiny", *limits]) as server:
        yield server


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FTLLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments])


def test_every_case_of_a_model(model: str) -> None:
    lengths = ["-p", "8,40", "-d", "0,64", "-b", "1,3", "-n", "5", "-r", "2"]
    result = invoke(model, *lengths, "--tokens", "2048", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    cases = [
        tuple(row["case"][key] for key in ("prompt", "depth", "batch")) for row in report["results"]
    ]
    assert cases == [(p, d, b) for p in (8, 40) for d in (0, 64) for b in (1, 3)]
    for row in report["results"]:
        assert row["case"]["tokens"] == 5
        for key in ("prefill_rate", "decode_rate", "first_token"):
            assert 0 < row[key]["least"] <= row[key]["median"] <= row[key]["most"]
        assert 0 < row["gap_p50"] <= row["gap_p95"]
    assert report["repetitions"] == 2
    assert any(line.startswith("kernels") for line in report["summary"])


def test_the_table(model: str) -> None:
    result = invoke(model, "-p", "8", "-b", "2", "-n", "3", "-r", "1", "--tokens", "512")
    assert result.exit_code == 0, result.output
    assert "prefill tok/s" in result.stdout
    assert "ITL p95 ms" in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if "±" in line and "│" in line]
    assert [cell.strip() for cell in row.split("│")[1:4]] == ["8", "0", "2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "x"], "--prompt is 'x'"),
        (["-p", "0"], "--prompt has 0; it must be from 1"),
        (["-d", "-1"], "--depth has -1; it must be from 0"),
        (["-b", "9", "--max_batch", "8"], "takes 8 requests at once; raise --max_batch"),
        (["-p", "400", "--max_model_len", "256"], "256 are available"),
        (["-p", "400", "-b", "4", "--tokens", "1024"], "it holds 1024; raise --tokens"),
        (["-p", "8", "-d", "32", "--no_prefix_cache"], "leave --no_prefix_cache out"),
    ],
)
def test_a_case_that_cannot_run_is_a_user_error(
    model: str, arguments: list[str], message: str
) -> None:
    result = invoke(model, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


class FailingEngine:
    """Ends every request at once."""

    config = EngineConfig(max_model_len=99, max_batch=4, max_batched_tokens=64, vocab_size=99)
    kv_tokens = 999

    def submit(self, request: Request, sink: Sink) -> None:
        event = FinishedEvent(
            request_id=request.request_id,
            reason=FinishReason.ERROR,
            prompt_tokens=len(request.prompt_ids),
            cached_tokens=0,
            output_tokens=0,
            error="out of luck",
        )
        sink([event])

    def abort(self, request_id: str) -> None:
        pass


def test_a_request_that_fails_is_an_error() -> None:
    test = SpeedTest(FailingEngine(), max_model_len=99)  # type: ignore[arg-type]
    with pytest.raises(FtllmError, match="A request of the benchmark failed: out of luck"):
        test.measure([SpeedCase(prompt=8, depth=0, batch=2, tokens=4)], repetitions=1)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("path", ["", "/v1", "/v1/"])
def test_an_endpoint(path: str, chat: bool) -> None:
    with FakeEndpoint() as endpoint:
        flags = ["--concurrency", "3", "--requests", "7", "--prompt_tokens", "50"]
        flags += ["--max_tokens", "6", "--json", *(["--chat"] if chat else [])]
        result = invoke("--url", endpoint.url + path, *flags)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["results"]
    assert row["model"] == "first"
    assert (row["requests"], row["failed"], row["first_error"]) == (7, 0, None)
    assert row["prompt_tokens"] == 7 * 50
    assert row["output_tokens"] == 7 * 6
    assert row["output_rate"] == pytest.approx(42 / row["seconds"])
    assert 0 < row["first_token_p50"] <= row["first_token_p95"] <= row["request_p95"]
    assert 0 <= row["gap_p50"] <= row["gap_p95"]
    assert len(endpoint.bodies) == 7
    prompts = {json.dumps(body.get("messages", body.get("prompt"))) for body in endpoint.bodies}
    assert len(prompts) == 7
    assert all(body["max_tokens"] == 6 and body["model"] == "first" for body in endpoint.bodies)


def test_the_table_of_an_endpoint_tells_failures() -> None:
    with FakeEndpoint(fail_every=4) as endpoint:
        result = invoke("named", "--url", endpoint.url, "--requests", "8", "--max_tokens", "2")
    assert result.exit_code == 0, result.output
    assert "6 of 8" in result.stdout
    assert f"named at {endpoint.url}, 8 clients" in result.stdout  # on one line
    assert "TTFT p50 / p95 ms" in result.stdout
    assert "2 requests failed; the first:" in result.stderr
    assert "too busy" in result.stderr
    assert {body["model"] for body in endpoint.bodies} == {"named"}


@pytest.mark.parametrize("chat", [False, True])
def test_a_real_server(real_server: RunningServer, chat: bool) -> None:
    flags = ["--requests", "5", "--concurrency", "2", "--prompt_tokens", "60", "--max_tokens", "8"]
    flags += ["--api_key", "secret", "--json", *(["--chat"] if chat else [])]
    result = invoke("--url", real_server.url, *flags)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["results"]
    assert (row["model"], row["requests"], row["failed"]) == ("tiny", 5, 0)
    assert row["output_tokens"] == 5 * 8
    assert row["prompt_tokens"] == pytest.approx(5 * 60, rel=0.2)  # whole words of letters
    assert 0 < row["first_token_p50"] <= row["request_p50"] <= row["seconds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--api_key", "wrong"], "HTTP 401"),
        (["other", "--api_key", "secret"], "this server has 'tiny'"),
        (["--api_key", "secret", "--prompt_tokens", "900"], "maximum context length is 512"),
    ],
)
def test_what_a_real_server_refuses(
    real_server: RunningServer, arguments: list[str], message: str
) -> None:
    result = invoke("--url", real_server.url, "--requests", "2", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("place", ["flag", "FTLLM_API_KEY", "OPENAI_API_KEY"])
def test_the_key(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    flags = ["--requests", "2", "--max_tokens", "2"]
    if place == "flag":
        flags += ["--api_key", "secret"]
    else:
        monkeypatch.setenv(place, "secret")
    with FakeEndpoint(key="secret") as endpoint:
        assert invoke("--url", endpoint.url, *flags).exit_code == 0
        monkeypatch.delenv(place, raising=False)
        result = invoke("--url", endpoint.url, "--requests", "2")
    assert result.exit_code == 1
    assert "HTTP 401" in result.stderr
    assert "wrong key" in result.stderr


def test_an_endpoint_that_is_not_there_or_says_too_little() -> None:
    with FakeEndpoint(usage=False) as endpoint:
        silent = invoke("--url", endpoint.url)
    assert silent.exit_code == 1
    assert "does not say how many tokens a prompt has" in silent.stderr
    gone = invoke("--url", endpoint.url)
    assert gone.exit_code == 1
    assert f"{endpoint.url} cannot be used" in gone.stderr
    with FakeEndpoint(fail_every=1) as endpoint:
        failing = invoke("--url", endpoint.url, "--requests", "3")
    assert failing.exit_code == 1
    assert "No request succeeded; the first error" in failing.stderr


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://h:port", "http://h/?a=b"])
def test_a_bad_address_is_a_user_error(url: str) -> None:
    result = invoke("--url", url)
    assert result.exit_code == 2
    assert f"--url is {url!r}" in result.stderr


def test_statistics() -> None:
    spread = Spread.of([4.0, 1.0, 2.0])
    assert (spread.median, spread.least, spread.most) == (2.0, 1.0, 4.0)
    assert spread.percent == 75.0
    assert Spread.of([0.0]).percent == 0.0
    assert [percentile([3.0, 1.0, 2.0, 4.0], share) for share in (0, 0.5, 0.75, 0.76, 1)] == [
        1.0,
        2.0,
        3.0,
        4.0,
        4.0,
    ]
    assert math.isnan(percentile([], 0.5))
