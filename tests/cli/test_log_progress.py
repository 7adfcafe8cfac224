"""Long work as lines of the log."""

from __future__ import annotations

import logging
import re

import pytest

from ftllm.cli.log_options import load_progress
from ftllm.cli.log_progress import LogProgress
from ftllm.progress import RichProgress
from ftllm.server.log_config import set_up_logging


def test_a_line_at_the_beginning_and_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with LogProgress().task("Loading", 2, "tensors") as task:
        task.advance(1)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "Loading begins"
    assert re.fullmatch(r"Loading: \d+\.\d s", second)


@pytest.mark.parametrize(("form", "kind"), [("text", RichProgress), ("json", LogProgress)])
def test_bars_are_for_people(form: str, kind: type) -> None:
    set_up_logging(level="info", form=form, hide_input=False)
    assert isinstance(load_progress(), kind)
