"""The interactive loop with scripted lines instead of a keyboard."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console
from scripted_model import TEMPLATE, ScriptedEngine, fake_model

from ftllm.cli.chat_session import ChatSession
from ftllm.cli.repl import Repl
from ftllm.errors import EngineStoppedError
from ftllm.llm import LLM
from ftllm.progress import SilentProgress
from ftllm.sampling_params import SamplingParams


class Keyboard:
    """Lines that are typed at the prompt, and lines that arrive during an answer."""

    def __init__(self, *lines: str | type[BaseException], during: tuple[str, ...] = ()) -> None:
        self._lines = list(lines)
        self._during = list(during)
        self.kept: list[str] = []

    def read_line(self, prompt: str) -> str:
        if self.kept:
            return self.kept.pop(0)
        line = self._lines.pop(0) if self._lines else EOFError
        if isinstance(line, str):
            return line
        raise line

    def typed(self) -> list[str]:
        lines, self._during = self._during, []
        return lines

    def keep(self, lines: list[str]) -> None:
        self.kept.extend(lines)


class Screen:
    """One run of the loop: what was printed where."""

    def __init__(
        self,
        keyboard: Keyboard,
        *,
        reply: Callable[[str], str] = lambda prompt: f"<{prompt}>",
        template: str | None = TEMPLATE,
        max_model_len: int = 200,
    ) -> None:
        model, self.engine = fake_model(reply, template=template, max_model_len=max_model_len)
        self.out = io.StringIO()
        self._notices = io.StringIO()
        console = Console(file=self._notices, width=200)
        ticks: Iterator[int] = iter(range(10**6))
        with LLM.from_loaded(model, progress=SilentProgress()) as llm:
            session = ChatSession(llm, SamplingParams(), clock=lambda: float(next(ticks)))
            Repl(session, keyboard, out=self.out, console=console).run()
        self.notices = self._notices.getvalue()

    @property
    def prompts(self) -> list[str]:
        return [bytes(request.prompt_ids).decode() for request in self.engine.requests]


def test_history_goes_with_the_next_question() -> None:
    screen = Screen(Keyboard("one", "two", "/exit", "never"), reply=lambda prompt: "ok")
    assert screen.prompts == [
        "user:one;assistant:",
        "user:one;assistant:ok;user:two;assistant:",
    ]
    assert screen.out.getvalue() == "ok\nok\n"


def test_clear_forgets() -> None:
    screen = Screen(Keyboard("one", "/clear", "two"))
    assert screen.prompts[1] == "user:two;assistant:"
    assert "forgotten" in screen.notices


def test_speed_and_stats() -> None:
    screen = Screen(Keyboard("/stats", "hi", "/stats"), reply=lambda prompt: "four")
    assert "No answer yet" in screen.notices
    assert "5 tokens, 1.0 tok/s, first token after 1.00 s, prompt 18 tokens (1 cached)" in (
        screen.notices
    )
    assert "all answers: 5 tokens, 2 messages in the history, context of 200" in screen.notices


def test_unknown_command_is_not_sent_but_a_path_is() -> None:
    screen = Screen(Keyboard("/stpo", "/help", "/stop", "/etc/hosts", "/a b", "", "  "))
    assert screen.prompts[0] == "user:/etc/hosts;assistant:"
    assert len(screen.prompts) == 2
    assert "/stpo is not a command" in screen.notices
    assert "/clear" in screen.notices
    assert "No answer is running" in screen.notices


def test_lines_that_go_on() -> None:
    screen = Screen(
        Keyboard("a\\", "b\\", "c", '"""x', "y", '"""', '"""z"""', '  """', "w", 'v"""', "u\\"),
        reply=lambda prompt: "",
        max_model_len=10_000,
    )
    questions = [prompt.split("user:")[-1].split(";")[0] for prompt in screen.prompts]
    assert questions == ["a\nb\nc", "x\ny", "z", "w\nv", "u"]


def test_a_block_that_is_never_closed_is_sent() -> None:
    assert Screen(Keyboard('"""x', "y")).prompts == ["user:x\ny;assistant:"]


def test_stop_typed_during_an_answer_ends_it_and_keeps_what_was_said() -> None:
    keyboard = Keyboard("one", during=("/stop", "two"))
    screen = Screen(
        keyboard, reply=lambda prompt: "abc" if "two" in prompt else "." * 5000, max_model_len=9999
    )
    assert screen.engine.aborted == [screen.engine.requests[0].request_id]
    assert screen.prompts[1] == "user:one;assistant:.;user:two;assistant:"
    assert screen.out.getvalue() == ".\nabc\n"


def test_interrupt_stops_the_answer_not_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ChatSession.answer
    interrupted = False

    def answer_then_interrupt(session: ChatSession, text: str) -> Iterator[str]:
        nonlocal interrupted
        for piece in answer(session, text):
            yield piece
            if not interrupted:
                interrupted = True
                raise KeyboardInterrupt

    monkeypatch.setattr(ChatSession, "answer", answer_then_interrupt)
    screen = Screen(Keyboard("one", KeyboardInterrupt, "two"), reply=lambda prompt: "xy")
    assert screen.out.getvalue() == "x\nxy\n"
    assert len(screen.prompts) == 2
    assert "/exit or Ctrl-D" in screen.notices


def test_a_question_that_does_not_fit_leaves_no_trace() -> None:
    screen = Screen(Keyboard("x" * 50, "hi"), max_model_len=30)
    assert "do not fit 30" in screen.notices
    assert screen.prompts == ["user:hi;assistant:"]


def test_a_base_model_gets_each_text_by_itself() -> None:
    assert Screen(Keyboard("one", "two"), template=None).prompts == ["one", "two"]


def test_a_stopped_engine_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(engine: ScriptedEngine, request: object, sink: object) -> None:
        raise EngineStoppedError("The engine has been shut down.")

    monkeypatch.setattr(ScriptedEngine, "submit", refuse)
    with pytest.raises(EngineStoppedError):
        Screen(Keyboard("one", "two"))
