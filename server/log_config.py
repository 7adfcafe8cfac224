"""Where log lines go: all to stderr, in one format."""

from __future__ import annotations

import logging.config
from typing import Final

LEVELS: Final = ("critical", "error", "warning", "info", "debug")
FORMATS: Final = ("text", "json")


def set_up_logging(*, level: str, form: str, hide_input: bool) -> None:
    """For this process: the server's lines and uvicorn's from `level` on, and warnings of whatever
    else runs in it."""
    formatter = {"text": "TextFormatter", "json": "JsonFormatter"}[form]
    wanted = {"level": level.upper()}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {"()": f"ftllm.server.log_format.{formatter}", "hide_input": hide_input}
            },
            "filters": {"request_id": {"()": "ftllm.server.log_filter.RequestIdFilter"}},
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "formatter": "line",
                    "filters": ["request_id"],
                    "stream": "ext://sys.stderr",
                }
            },
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {"ftllm": wanted, "uvicorn": wanted},
        }
    )
    logging.captureWarnings(True)
