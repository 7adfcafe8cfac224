"""Fields that OpenAI's API has and this server does not honour: refused, never ignored.

A value that asks for nothing (null, an empty list, the default) passes.
"""

from __future__ import annotations

from ftllm.errors import RequestError
from ftllm.server.schemas.chat import ChatCompletionRequest
from ftllm.server.schemas.completions import CompletionRequest
from ftllm.server.schemas.sampling import SamplingFields


def refuse_stream_options(stream_options: object, *, stream: bool | None) -> None:
    """As OpenAI does, when there are options and no stream."""
    if stream_options is not None and not stream:
        raise RequestError(
            "stream_options is only allowed together with stream; set stream to true.",
            param="stream_options",
        )


def refuse_unsupported_sampling(body: SamplingFields) -> None:
    """Raises `RequestError` naming the first field that asks for what is not there."""
    _refuse(body.use_beam_search, "use_beam_search", "Beam search is not supported.")
    _refuse(
        body.length_penalty not in (None, 1.0),
        "length_penalty",
        "It belongs to beam search, which is not supported.",
    )
    _refuse(
        body.no_stop_trim,
        "no_stop_trim",
        "It is not supported; include_stop_str_in_output keeps what ended the answer.",
    )
    _refuse(body.return_hidden_states, "return_hidden_states", "They are not given out.")
    if body.prompt_logprobs is not None and body.stream:
        raise RequestError(
            "prompt_logprobs cannot be streamed; set stream to false.", param="prompt_logprobs"
        )


def refuse_unsupported_chat(body: ChatCompletionRequest) -> None:
    """Raises `RequestError` naming the first field that asks for what is not there."""
    for name in ("separate_reasoning", "stream_reasoning"):
        _refuse(
            getattr(body, name) is False,
            name,
            "Thinking is always apart from the answer and streamed; include_reasoning leaves it"
            " out.",
        )
    _refuse(body.verbosity not in (None, "medium"), "verbosity", "It is not supported.")
    _refuse(
        body.modalities not in (None, [], ["text"]), "modalities", "Only text output is supported."
    )
    _refuse(body.audio is not None, "audio", "Only text output is supported.")
    _refuse(body.web_search_options is not None, "web_search_options", "There is no web search.")
    _refuse(body.moderation is not None, "moderation", "There is no moderation.")
    for name in ("messages", "tools", "add_generation_prompt"):
        _refuse(
            name in (body.chat_template_kwargs or ()),
            "chat_template_kwargs",
            f"The server sets {name!r} itself.",
        )
    if body.continue_final_message and body.add_generation_prompt:
        raise RequestError(
            "continue_final_message and add_generation_prompt exclude each other: an answer either"
            " goes on with the last message or begins a new one. Set one of them.",
            param="continue_final_message",
        )
    for index, message in enumerate(body.messages):
        _refuse(message.audio is not None, f"messages[{index}].audio", "Only text is supported.")


def refuse_unsupported_completion(body: CompletionRequest) -> None:
    """Raises `RequestError` naming the first field that asks for what is not there."""
    if body.suffix and body.echo:
        raise RequestError(
            "echo and suffix exclude each other: with a suffix the model reads the prompt in"
            " another form than it was sent. Set one of them.",
            param="echo",
        )
    if body.suffix and body.truncate_prompt_tokens is not None:
        raise RequestError(
            "truncate_prompt_tokens and suffix exclude each other: the markers between the two must"
            " stay. Shorten the prompt before it is sent.",
            param="truncate_prompt_tokens",
        )
    best_of = body.best_of
    if best_of is not None and best_of < body.choices:
        raise RequestError(
            f"best_of is {best_of} and n is {body.choices}; of fewer answers than are wanted none"
            " can be chosen. Set best_of to n or more.",
            param="best_of",
        )
    if body.stream and body.drawn_choices > body.choices:
        raise RequestError(
            f"best_of is {best_of} and n is {body.choices}: the best answers are known only when"
            " all are complete, so they cannot be streamed. Set stream to false.",
            param="best_of",
        )


def _refuse(asked: object, param: str, message: str) -> None:
    """Raises when `asked` is true or not empty."""
    if asked:
        raise RequestError(f"{param}: {message}", param=param, code="unsupported_value")
