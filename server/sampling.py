"""From a request's fields to one engine request per choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ftllm.engine.matcher import TokenGrammar
from ftllm.engine.request import Request
from ftllm.errors import RequestError
from ftllm.sampling_params import SamplingParams
from ftllm.server.choice_stream import ChoicePlan
from ftllm.server.model import ServedModel
from ftllm.server.prompts import Prompt, Truncation
from ftllm.server.schemas.sampling import SamplingFields
from ftllm.server.structured_output import requested_grammar

# Each choice has its own automaton of the stop strings, of about 300 bytes a character.
MAX_ALL_STOP_CHARS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """What a request says about its place among others."""

    priority: int = 0  # lower runs first
    cache_salt: str = ""  # prefixes are shared only between requests of equal salt

    @classmethod
    def of(cls, fields: SamplingFields) -> Scheduling:
        return cls(priority=fields.priority or 0, cache_salt=fields.cache_salt or "")


def truncation(
    fields: SamplingFields, *, max_model_len: int, max_tokens: int | None
) -> Truncation | None:
    """How the prompt is to be shortened. Raises `RequestError` when nothing would be left."""
    tokens = fields.truncate_prompt_tokens
    if tokens is None:
        return None
    if tokens == -1:
        tokens = max_model_len - (max_tokens or 1)
    if tokens < 1:
        raise RequestError(
            f"truncate_prompt_tokens leaves {tokens} tokens of the prompt; give at least 1, or -1"
            f" and max_tokens below this model's {max_model_len}.",
            param="truncate_prompt_tokens",
        )
    return Truncation(tokens=tokens, keeps_end=fields.truncation_side != "right")


def sampling_params(
    fields: SamplingFields,
    *,
    vocab_size: int,
    max_tokens: int | None,
    logprobs: int | None,
    prompt_logprobs: int | None = None,
) -> SamplingParams:
    """The request's sampling. Raises `RequestError` naming the field that is out of range."""
    stop_token_ids = fields.stop_token_ids or []
    logit_bias = fields.logit_bias or {}
    for name, ids in (
        ("stop_token_ids", stop_token_ids),
        ("allowed_token_ids", fields.allowed_token_ids or ()),
        ("logit_bias", logit_bias),
    ):
        wrong = next((token_id for token_id in ids if not 0 <= token_id < vocab_size), None)
        if wrong is not None:
            raise RequestError(
                f"{name} holds the token id {wrong}; ids go from 0 to {vocab_size - 1}.",
                param=name,
            )
    return SamplingParams(
        n=fields.choices,
        temperature=fields.temperature,
        top_p=fields.top_p,
        top_k=0 if fields.top_k == -1 else fields.top_k,
        min_p=fields.min_p,
        repetition_penalty=fields.repetition_penalty,
        presence_penalty=fields.presence_penalty or 0.0,
        frequency_penalty=fields.frequency_penalty or 0.0,
        logit_bias=logit_bias,
        seed=fields.seed,
        max_tokens=max_tokens,
        min_tokens=fields.min_tokens or 0,
        stop=fields.stop,
        stop_token_ids=stop_token_ids,
        allowed_token_ids=fields.allowed_token_ids,
        bad_words=fields.bad_words or (),
        include_stop_str_in_output=bool(fields.include_stop_str_in_output),
        skip_special_tokens=fields.skip_special_tokens is not False,
        ignore_eos=bool(fields.ignore_eos),
        grammar=requested_grammar(fields),
        logprobs=logprobs,
        prompt_logprobs=prompt_logprobs,
    )


def choice_plans(
    model: ServedModel,
    prompts: Sequence[Prompt],
    params: SamplingParams,
    *,
    scheduling: Scheduling,
    bad_words: tuple[tuple[int, ...], ...] = (),
    grammar: TokenGrammar | None = None,
    answer_id: str,
    generates: bool = True,
) -> list[ChoicePlan]:
    """`params.n` plans for each prompt, in order. They share the prompt's cached prefix.
    `bad_words` are the token sequences of those in `params`, and `grammar` is its compiled one.

    Raises `RequestError` when the stop strings are too many for so many choices.
    """
    choices = len(prompts) * params.n
    stop_chars = choices * sum(len(stop) for stop in params.stop_strings)
    if stop_chars > MAX_ALL_STOP_CHARS:
        raise RequestError(
            f"The stop strings of all {choices} choices have {stop_chars} characters together; at"
            f" most {MAX_ALL_STOP_CHARS} are allowed. Use fewer stop strings or choices.",
            param="stop",
        )
    per_choice = [
        params.for_choice(
            choice,
            defaults=model.defaults,
            eos_token_ids=model.eos_token_ids,
            bad_word_ids=bad_words,
            grammar=grammar,
        )
        for choice in range(params.n)
    ]
    plans: list[ChoicePlan] = []
    for prompt in prompts:
        for engine_params in per_choice:
            index = len(plans)
            if prompt.echo is not None:  # each choice tells the prompt's log-probabilities
                engine_params = replace(engine_params, prompt_logprobs=params.prompt_logprobs)
            request = Request(
                request_id=f"{answer_id}-{index}",
                prompt_ids=prompt.ids,
                params=engine_params,
                priority=scheduling.priority,
                cache_salt=scheduling.cache_salt,
            )
            plans.append(
                ChoicePlan(
                    index,
                    request,
                    prompt,
                    params.stop_strings,
                    keep_stop=params.include_stop_str_in_output,
                    skip_special_tokens=params.skip_special_tokens,
                    generates=generates,
                )
            )
    return plans
