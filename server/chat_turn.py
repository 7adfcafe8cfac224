"""A chat turn: a conversation goes in, a typed answer comes out.

Every chat endpoint is a client of this. It reads its JSON into a `ChatTurn`, lets `ChatTurns`
prepare and start it, and writes what the `TurnAnswer` brings in its own shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

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
from ftllm.tool_parsers import TOOL_DIALECTS, AnyReasoningDialect, OutputParser


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """A conversation and how to answer it. Values have been checked, except against the model."""

    messages: Sequence[Message]
    params: SamplingParams = field(default_factory=SamplingParams)
    tools: ToolOffer = field(default_factory=ToolOffer)
    thinking: ThinkingWish = field(default_factory=ThinkingWish)
    options: ChatOptions = field(default_factory=ChatOptions)
    scheduling: Scheduling = field(default_factory=Scheduling)


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
        thinking, options = self._plan(turn)
        tools = turn.tools.tools
        prompt = await self._prompts.chat(turn.messages, options, tools=tools)
        bad_words = await self._prompts.bad_words(turn.params.bad_words)
        return PreparedTurn(turn=turn, prompt=prompt, thinking=thinking, bad_words=bad_words)

    async def rendered(self, turn: ChatTurn) -> Prompt:
        """The prompt alone, however long it is: to count its tokens."""
        _, options = self._plan(turn)
        return await self._prompts.rendered_chat(turn.messages, options, tools=turn.tools.tools)

    def _plan(self, turn: ChatTurn) -> tuple[ThinkingPlan, ChatOptions]:
        if turn.tools.tools:
            self._check_tools()
        thinking = self._thinking.plan(turn.thinking, turn.options.variables)
        return thinking, replace(turn.options, variables=thinking.variables)

    def start(self, prepared: PreparedTurn, *, answer_id: str) -> TurnAnswer:
        """Submits. Raises before anything runs if any of the choices cannot be served."""
        turn = prepared.turn
        params = turn.params
        parses = self._parses(prepared)
        plans = choice_plans(
            self._model,
            [prepared.prompt],
            # Markers are often special tokens. The ends of turns are no part of any answer.
            replace(params, skip_special_tokens=False) if parses else params,
            scheduling=turn.scheduling,
            bad_words=prepared.bad_words,
            answer_id=answer_id,
        )
        readers: list[AnswerReader] = [PlainReader() for _ in plans]
        if parses:
            plans = [replace(plan, hidden_ids=self._model.eos_token_ids) for plan in plans]
            readers = [self._parsed_reader(prepared) for _ in plans]
        generation = start_generation(self._bridge, self._model.tokenizer, plans, n=params.n)
        return TurnAnswer(generation, readers)

    def _check_tools(self) -> None:
        template = self._model.chat_template
        if self._dialects.tools.name is None:
            raise RequestError(
                f"tools: it is not known how the model {self._model.name!r} writes tool calls"
                f" ({self._dialects.tools.reason}). Start the server with --tool_call_parser NAME;"
                f" there are {', '.join(sorted(TOOL_DIALECTS))}.",
                param="tools",
                code="unsupported_value",
            )
        if template is not None and not template.takes_tools:
            raise RequestError(
                "tools: the model's chat template does not tell the model about tools. Start the"
                " server with --chat_template and one that does.",
                param="tools",
                code="unsupported_value",
            )

    def _parses(self, prepared: PreparedTurn) -> bool:
        return bool(prepared.turn.tools.tools) or self._reasoning(prepared) is not None

    def _reasoning(self, prepared: PreparedTurn) -> AnyReasoningDialect | None:
        """None where nothing that the model writes can be thinking."""
        dialect = self._dialects.reasoning_dialect
        if dialect is None or prepared.thinking.off:
            return None
        return None if _ends_with(prepared.prompt, dialect.ends) else dialect

    def _parsed_reader(self, prepared: PreparedTurn) -> ParsedReader:
        turn = prepared.turn
        reasoning = self._reasoning(prepared)
        starts = reasoning is not None and _ends_with(prepared.prompt, reasoning.starts)
        parser = OutputParser(
            tools=[tool.template_form() for tool in turn.tools.tools],
            tool_dialect=self._dialects.tools.name,
            reasoning_dialect=None if reasoning is None else reasoning.name,
            starts_in_reasoning=starts,
        )
        return ParsedReader(
            parser,
            parallel=turn.tools.parallel,
            shows_reasoning=prepared.thinking.visible,
            with_logprobs=turn.params.logprobs is not None,
        )


def _ends_with(prompt: Prompt, markers: Sequence[str]) -> bool:
    """But for white space, the prompt ends with one of them."""
    return prompt.tail.rstrip().endswith(tuple(marker.rstrip() for marker in markers))
