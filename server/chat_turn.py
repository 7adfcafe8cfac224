"""A chat turn: a conversation goes in, a typed answer comes out.

Every chat endpoint is a client of this. It reads its JSON into a `ChatTurn`, lets `ChatTurns`
prepare and start it, and writes what the `TurnAnswer` brings in its own shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ftllm.errors import RequestError
from ftllm.sampling_params import SamplingParams
from ftllm.server.bridge import EngineBridge
from ftllm.server.conversation import Message, ToolOffer
from ftllm.server.dialects import Dialects
from ftllm.server.generation import start_generation
from ftllm.server.model import ServedModel
from ftllm.server.parsed_reader import ParsedReader
from ftllm.server.prompts import ChatOptions, Prompt, PromptPreparer
from ftllm.server.sampling import Scheduling, choice_plans
from ftllm.server.thinking import ThinkingPlan, ThinkingPlanner, ThinkingWish
from ftllm.server.turn_answer import AnswerReader, PlainReader, TurnAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """A conversation and how to answer it. Values have been checked, except against the model."""

    messages: Sequence[Message]
    params: SamplingParams
    tools: ToolOffer = ToolOffer()
    thinking: ThinkingWish = ThinkingWish()
    options: ChatOptions = ChatOptions()
    scheduling: Scheduling = Scheduling()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTurn:
    """A turn that only needs to be started; its prompt's tokens are known."""

    turn: ChatTurn
    prompt: Prompt
    thinking: ThinkingPlan
    bad_words: tuple[tuple[int, ...], ...]


class ChatTurns:
    """Prepares and starts chat turns of one model."""

    def __init__(
        self,
        model: ServedModel,
        prompts: PromptPreparer,
        bridge: EngineBridge,
        dialects: Dialects,
        thinking: ThinkingPlanner,
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._bridge = bridge
        self._dialects = dialects
        self._thinking = thinking

    async def prepare(self, turn: ChatTurn) -> PreparedTurn:
        """Renders and tokenizes. Raises `RequestError` naming what this model cannot honour."""
        if turn.tools.tools:
            self._check_tools()
        thinking = self._thinking.plan(turn.thinking, turn.options.variables)
        options = replace(turn.options, variables=thinking.variables)
        prompt = await self._prompts.chat(turn.messages, options, tools=turn.tools.tools)
        bad_words = await self._prompts.bad_words(turn.params.bad_words)
        return PreparedTurn(turn=turn, prompt=prompt, thinking=thinking, bad_words=bad_words)

    def start(self, prepared: PreparedTurn, *, answer_id: str) -> TurnAnswer:
        """Submits. Raises before anything runs if any of the choices cannot be served."""
        turn = prepared.turn
        readers = [self._reader(prepared) for _ in range(turn.params.n)]
        parses = any(isinstance(reader, ParsedReader) for reader in readers)
        params = turn.params
        plans = choice_plans(
            self._model,
            [prepared.prompt],
            replace(params, skip_special_tokens=False) if parses else params,
            scheduling=turn.scheduling,
            bad_words=prepared.bad_words,
            answer_id=answer_id,
        )
        if parses:  # markers are often special tokens; ends of turns are no part of any answer
            ends = self._model.eos_token_ids
            plans = [replace(plan, hidden_ids=ends) for plan in plans]
        generation = start_generation(self._bridge, self._model.tokenizer, plans, n=params.n)
        return TurnAnswer(generation, readers)
