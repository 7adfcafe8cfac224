"""A chat turn: a conversation goes in, a typed answer comes out.

Every chat endpoint is a client of this. It reads its JSON into a `ChatTurn`, lets `ChatTurns`
prepare and start it, and writes what the `TurnAnswer` brings in its own shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ftllm.engine.matcher import TokenGrammar
from ftllm.errors import RequestError
from ftllm.sampling_params import SamplingParams
from ftllm.server.bridge import EngineBridge
from ftllm.server.conversation import Message, ToolOffer
from ftllm.server.dialects import Dialects
from ftllm.server.generation import start_generation
from ftllm.server.grammars import Grammars
from ftllm.server.model import ServedModel
from ftllm.server.parsed_reader import ParsedReader
from ftllm.server.prompts import ChatOptions, Prompt, PromptPreparer
from ftllm.server.sampling import Scheduling, choice_plans
from ftllm.server.thinking import ThinkingPlan, ThinkingPlanner, ThinkingWish
from ftllm.server.tool_promises import ToolPromises
from ftllm.server.turn_answer import AnswerReader, PlainReader, TurnAnswer
from ftllm.server.turn_grammar import thinking_span, turn_grammar
from ftllm.tool_parsers import (
    TOOL_DIALECTS,
    AnyReasoningDialect,
    OutputParser,
    starts_in_reasoning,
)


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
    reasoning: AnyReasoningDialect | None  # None where nothing that the model writes is thinking
    bad_words: tuple[tuple[int, ...], ...]
    grammar: TokenGrammar | None

    @property
    def parses(self) -> bool:
        """The answer may have more in it than content."""
        return bool(self.turn.tools.tools) or self.reasoning is not None


class ChatTurns:
    """Prepares and starts chat turns of one model."""

    def __init__(
        self,
        model: ServedModel,
        prompts: PromptPreparer,
        grammars: Grammars,
        bridge: EngineBridge,
        dialects: Dialects,
        thinking: ThinkingPlanner,
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._grammars = grammars
        self._bridge = bridge
        self._dialects = dialects
        self._thinking = thinking
        special = model.tokenizer.special_ids | model.eos_token_ids
        self._special_texts = frozenset(map(model.tokenizer.token_text, special))
        self._promises = ToolPromises(grammars, dialects.tool_dialect, self._special_texts)

    async def prepare(self, turn: ChatTurn) -> PreparedTurn:
        """Renders, tokenizes and compiles. Raises `RequestError` naming what this model cannot
        honour."""
        thinking, options = self._plan(turn)
        prompt = await self._prompts.chat(turn.messages, options, tools=turn.tools.tools)
        bad_words = await self._prompts.bad_words(turn.params.bad_words)
        reasoning = self._reasoning(prompt, thinking)
        turn = replace(turn, tools=await self._promises.settle(turn.tools))
        grammar = turn_grammar(
            turn.params.grammar,
            turn.tools,
            dialect=self._dialects.tool_dialect,
            special=self._special_texts,
            thinking=thinking_span(reasoning, prompt.tail, limit=thinking.limit),
        )
        return PreparedTurn(
            turn=turn,
            prompt=prompt,
            thinking=thinking,
            reasoning=reasoning,
            bad_words=bad_words,
            grammar=await self._grammars.compiled(grammar),
        )

    async def rendered(self, turn: ChatTurn) -> Prompt:
        """The prompt alone, however long it is: to count its tokens."""
        _, options = self._plan(turn)
        return await self._prompts.rendered_chat(turn.messages, options, tools=turn.tools.tools)

    def start(self, prepared: PreparedTurn, *, answer_id: str) -> TurnAnswer:
        """Submits. Raises before anything runs if any of the choices cannot be served."""
        params = prepared.turn.params
        if prepared.parses:  # markers are often special tokens
            params = replace(params, skip_special_tokens=False)
        plans = choice_plans(
            self._model,
            [prepared.prompt],
            params,
            scheduling=prepared.turn.scheduling,
            bad_words=prepared.bad_words,
            grammar=prepared.grammar,
            answer_id=answer_id,
        )
        readers: list[AnswerReader] = [PlainReader() for _ in plans]
        if prepared.parses:
            readers = [self._parsed_reader(prepared) for _ in plans]
            # The ends of turns are no part of any answer, whatever lets them pass.
            plans = [replace(plan, hidden_ids=self._model.eos_token_ids) for plan in plans]
        generation = start_generation(self._bridge, self._model.tokenizer, plans, n=params.n)
        return TurnAnswer(generation, readers)

    def _plan(self, turn: ChatTurn) -> tuple[ThinkingPlan, ChatOptions]:
        if turn.tools.tools:
            self._check_tools()
        thinking = self._thinking.plan(turn.thinking, turn.options.variables)
        return thinking, replace(turn.options, variables=thinking.variables)

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

    def _reasoning(self, prompt: Prompt, thinking: ThinkingPlan) -> AnyReasoningDialect | None:
        dialect = self._dialects.reasoning_dialect
        if dialect is None or thinking.off:
            return None
        ends = tuple(end.rstrip() for end in dialect.ends)
        is_closed = prompt.tail.rstrip().endswith(ends)  # by the template
        return None if is_closed else dialect

    def _parsed_reader(self, prepared: PreparedTurn) -> ParsedReader:
        turn, offer = prepared.turn, prepared.turn.tools
        reasoning = None if prepared.reasoning is None else prepared.reasoning.name
        parser = OutputParser(
            tools=[tool.template_form() for tool in offer.tools],
            tool_dialect=self._dialects.tools.name,
            strict=[tool.name for tool in offer.tools if tool.strict],
            # A grammar has told the answer from calls, or which tools may be called.
            marked_only=turn.params.grammar is not None or offer.allowed is not None,
            reasoning_dialect=reasoning,
            starts_in_reasoning=starts_in_reasoning(reasoning, prepared.prompt.tail),
        )
        return ParsedReader(
            parser,
            parallel=offer.parallel,
            shows_reasoning=prepared.thinking.visible,
            with_logprobs=turn.params.logprobs is not None,
        )
