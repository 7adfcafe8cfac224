"""`ftllm run`: chat with a model in the terminal, or answer one prompt."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ftllm.cli.configuration import configurable
from ftllm.cli.load_options import load_options
from ftllm.cli.verb import option_group, reports_errors
from ftllm.errors import OptionError

if TYPE_CHECKING:
    from ftllm.cli.chat_session import ChatSession
    from ftllm.loading import LoadOptions

CHAT_PANEL = "Chat"


@reports_errors
@configurable
@option_group("load", load_options)
def run(
    load: "LoadOptions",
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEXT",
            help="Answer this and leave. Also: pipe the prompt in.",
            show_default=False,
            rich_help_panel=CHAT_PANEL,
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            "--system",
            metavar="TEXT",
            help="The system message.",
            show_default=False,
            rich_help_panel=CHAT_PANEL,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            help="0 = greedy. Default: the model's.",
            show_default=False,
            rich_help_panel=CHAT_PANEL,
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top_p",
            help="Keep the likeliest tokens up to this probability. Default: the model's.",
            show_default=False,
            rich_help_panel=CHAT_PANEL,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top_k",
            help="Keep the k likeliest tokens; 0 = all. Default: the model's.",
            show_default=False,
            rich_help_panel=CHAT_PANEL,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max_tokens",
            help="Longest answer, in tokens. Default: up to the context's end.",
            show_default=False,
            rich_help_panel=CHAT_PANEL,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="Makes sampled answers repeatable.",
            show_default=False,
            rich_help_panel=CHAT_PANEL,
        ),
    ] = None,
) -> None:
    """Chat with MODEL in the terminal, or answer one prompt.

    With --prompt, or a prompt piped in, standard output gets the answer and nothing else.
    """
    from rich.console import Console

    from ftllm.cli.chat_session import ChatSession
    from ftllm.cli.repl import Repl
    from ftllm.cli.terminal import Terminal
    from ftllm.llm import LLM
    from ftllm.loading import load_model
    from ftllm.progress import RichProgress
    from ftllm.sampling_params import SamplingParams

    params = SamplingParams(
        temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=max_tokens, seed=seed
    )
    text = _one_shot(prompt)
    progress = RichProgress()
    console = Console(stderr=True)
    with LLM.from_loaded(load_model(load, progress=progress), progress=progress) as llm:
        session = ChatSession(llm, params, system=system)
        if not session.chats:
            typer.echo(
                f"{llm.loaded.name} has no chat template: it continues each text by itself.",
                err=True,
            )
        if text is not None:
            _answer_once(session, text)
            return
        for line in llm.loaded.summary:
            typer.echo(line, err=True)
        Repl(session, Terminal(sys.stdin), out=sys.stdout, console=console).run()


def _one_shot(prompt: str | None) -> str | None:
    """The prompt of a one-shot run, or None for a chat."""
    if prompt is None:
        if sys.stdin.isatty():
            return None
        prompt = sys.stdin.read()
    if not prompt.strip():
        raise OptionError("The prompt is empty; give --prompt TEXT or pipe a text in.")
    return prompt


def _answer_once(session: "ChatSession", text: str) -> None:
    for piece in session.answer(text):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    if session.last_stats is not None:
        typer.echo(session.last_stats.line(), err=True)
