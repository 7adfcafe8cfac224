"""The interactive loop of `ftllm run`: messages, slash commands, streamed answers."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Protocol, TextIO

from rich.console import Console
from rich.text import Text

from ftllm.cli.chat_session import ChatSession
from ftllm.cli.terminal import LineSource, read_message
from ftllm.errors import EngineStoppedError, FtllmError

HELP = '''\
/clear   forget the conversation
/stop    stop the answer that is running (as Ctrl-C does)
/stats   speed of the last answer, tokens of all
/help    this text
/exit    leave (as Ctrl-D does)
A line that ends with \\ goes on in the next; """ opens and closes a block of lines.'''
COMMAND = re.compile(r"/[a-z]+")  # a whole message of this form is a command
STOP = "/stop"


class Lines(LineSource, Protocol):
    def keep(self, lines: list[str]) -> None:
        """Takes back lines that `typed` gave, to be read next."""


class Repl:
    """Runs until /exit or the end of the input. Answers go to `out`, all else to `console`."""

    def __init__(
        self, session: ChatSession, lines: Lines, *, out: TextIO, console: Console
    ) -> None:
        self._session = session
        self._lines = lines
        self._out = out
        self._console = console

    def run(self) -> None:
        self._say("/help lists the commands, /exit leaves.")
        while True:
            try:
                message = read_message(self._lines, prompt=">>> ", more="... ").strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                self._say("\n/exit or Ctrl-D leaves.")
                continue
            if message == "/exit":
                return
            if COMMAND.fullmatch(message):
                self._command(message)
            elif message:
                self._answer(message)

    def _command(self, command: str) -> None:
        match command:
            case "/clear":
                self._session.clear()
                self._say("The conversation is forgotten.")
            case "/stop":
                self._say("No answer is running.")
            case "/stats":
                self._say(self._stats())
            case "/help":
                self._say(HELP)
            case _:
                self._say(f"{command} is not a command; /help lists them.")

    def _answer(self, message: str) -> None:
        try:
            with closing(self._session.answer(message)) as pieces:
                for piece in pieces:
                    self._out.write(piece)
                    self._out.flush()
                    if self._stop_typed():
                        break
        except KeyboardInterrupt:
            pass  # the answer ends, the program goes on
        except EngineStoppedError:
            raise
        except FtllmError as error:
            self._say(f"Error: {error}")
            return
        self._out.write("\n")
        self._out.flush()
        if self._session.last_stats is not None:
            self._say(self._session.last_stats.line())

    def _stop_typed(self) -> bool:
        lines = self._lines.typed()
        self._lines.keep([line for line in lines if line.strip() != STOP])
        return any(line.strip() == STOP for line in lines)

    def _stats(self) -> str:
        last = self._session.last_stats
        if last is None:
            return "No answer yet."
        return (
            f"last answer: {last.line()}\n"
            f"all answers: {self._session.total_output_tokens} tokens,"
            f" {self._session.turns} messages in the history,"
            f" context of {self._session.max_model_len} tokens"
        )

    def _say(self, text: str) -> None:
        self._console.print(Text(text, style="dim"))
