"""Where log lines go: all to stderr, in one format."""

from __future__ import annotations


def log_config(level: str) -> dict[str, object]:
    """A `logging.config.dictConfig` for the server's loggers and uvicorn's."""
    logger = {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "stream": "ext://sys.stderr",
            }
        },
        "loggers": {"ftllm": logger, "uvicorn": logger},
    }
