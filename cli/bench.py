"""`ftllm bench`: how fast a model is on this machine, or an endpoint from here."""

import itertools
import os
from typing import TYPE_CHECKING, Annotated

import typer

from ftllm.cli.configuration import configurable
from ftllm.cli.load_options import load_options
from ftllm.cli.verb import option_group, reports_errors
from ftllm.errors import OptionError

if TYPE_CHECKING:
    from ftllm.cli.load_test import LoadPlan
    from ftllm.cli.speed_test import SpeedCase
    from ftllm.loading import LoadOptions

SPEED_PANEL = "What to measure"
ENDPOINT_PANEL = "An endpoint instead of a model (with --url)"
KEY_VARIABLES = ("FTLLM_API_KEY", "OPENAI_API_KEY")
_LARGEST = 1 << 20


@reports_errors
@configurable
@option_group("load", load_options)
def bench(
    load: "LoadOptions",
    prompt: Annotated[
        str,
        typer.Option(
            "-p", "--prompt", metavar="N,N…", help="Prompt lengths.", rich_help_panel=SPEED_PANEL
        ),
    ] = "128,512",
    depth: Annotated[
        str,
        typer.Option(
            "-d",
            "--depth",
            metavar="N,N…",
            help="Tokens in the KV cache before the prompt.",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = "0",
    batch: Annotated[
        str,
        typer.Option(
            "-b", "--batch", metavar="N,N…", help="Requests at once.", rich_help_panel=SPEED_PANEL
        ),
    ] = "1,4",
    new_tokens: Annotated[
        int,
        typer.Option(
            "-n",
            "--new_tokens",
            min=1,
            help="Tokens that each request decodes while all decode.",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = 64,
    repetitions: Annotated[
        int,
        typer.Option(
            "-r",
            "--repetitions",
            min=1,
            help="Runs of each case, in turn; medians are shown.",
            rich_help_panel=SPEED_PANEL,
        ),
    ] = 3,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="Measure this OpenAI-compatible server; MODEL is then its model's name.",
            show_default=False,
            rich_help_panel=ENDPOINT_PANEL,
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", min=1, max=4096, help="Clients.", rich_help_panel=ENDPOINT_PANEL
        ),
    ] = 8,
    requests: Annotated[
        int,
        typer.Option(
            "--requests", min=1, help="Requests of all clients.", rich_help_panel=ENDPOINT_PANEL
        ),
    ] = 32,
    prompt_tokens: Annotated[
        int,
        typer.Option(
            "--prompt_tokens", min=1, help="Length of a prompt.", rich_help_panel=ENDPOINT_PANEL
        ),
    ] = 256,
    max_tokens: Annotated[
        int,
        typer.Option(
            "--max_tokens", min=1, help="Length of an answer.", rich_help_panel=ENDPOINT_PANEL
        ),
    ] = 64,
    chat: Annotated[
        bool,
        typer.Option(
            "--chat",
            help="Chat completions instead of completions.",
            rich_help_panel=ENDPOINT_PANEL,
        ),
    ] = False,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api_key",
            metavar="KEY",
            hide_input=True,
            help=f"The endpoint's key. {' or '.join(KEY_VARIABLES)} keeps it out of the process"
            " list.",
            show_default=False,
            rich_help_panel=ENDPOINT_PANEL,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0.1,
            help="Seconds without an answer after which a request has failed.",
            rich_help_panel=ENDPOINT_PANEL,
        ),
    ] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure prefill and decode speed of MODEL, or of a server with --url.

    Needs the machine for itself: other work shows as a wide spread.
    """
    from ftllm.cli.load_test import LoadPlan
    from ftllm.cli.speed_test import SpeedCase

    if url is None:
        cases = [
            SpeedCase(prompt=p, depth=d, batch=b, tokens=new_tokens)
            for p, d, b in itertools.product(
                _numbers("--prompt", prompt, least=1),
                _numbers("--depth", depth, least=0),
                _numbers("--batch", batch, least=1),
            )
        ]
        _bench_model(load, cases, repetitions, as_json=as_json)
        return
    plan = LoadPlan(
        model=load.model,
        concurrency=min(concurrency, requests),
        requests=requests,
        prompt_tokens=prompt_tokens,
        max_tokens=max_tokens,
        chat=chat,
    )
    key = api_key or next(filter(None, map(os.environ.get, KEY_VARIABLES)), None)
    _bench_endpoint(url, plan, key, timeout, as_json=as_json)


def _bench_model(
    load: "LoadOptions", cases: "list[SpeedCase]", repetitions: int, *, as_json: bool
) -> None:
    from ftllm.cli.bench_report import print_speed
    from ftllm.cli.speed_test import SpeedTest
    from ftllm.loading import load_model
    from ftllm.progress import RichProgress

    model = load_model(load, progress=RichProgress())
    for line in model.summary:
        typer.echo(line, err=True)
    model.engine.start()
    try:
        test = SpeedTest(model.engine, max_model_len=model.max_model_len)
        results = test.measure(cases, repetitions=repetitions)
    finally:
        model.engine.shutdown()
    print_speed(model.name, model.summary, results, repetitions, as_json=as_json)


def _bench_endpoint(
    url: str, plan: "LoadPlan", api_key: str | None, timeout: float, *, as_json: bool
) -> None:
    from ftllm.cli.bench_report import print_load
    from ftllm.cli.load_test import Endpoint, run_load

    result = run_load(Endpoint(url, api_key=api_key, timeout=timeout), plan)
    print_load(url, plan, result, as_json=as_json)


def _numbers(option: str, text: str, *, least: int) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"{option} is {text!r}; give numbers such as 128,512") from None
    for number in numbers:
        if not least <= number <= _LARGEST:
            raise OptionError(f"{option} has {number}; it must be from {least} to {_LARGEST}")
    return list(dict.fromkeys(numbers))
