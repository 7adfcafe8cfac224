"""Every error that ftllm raises on purpose. A leaf module: any package may import it.

FtllmError
├── ModelSourceError        MODEL cannot be found, fetched or verified
├── CheckpointError         a model file is damaged, incomplete or not supported
│   └── UnsupportedModelError   its architecture or number format is not one of ours
├── GraphError              a model's graph does not fit together, or a step does not fit it
├── OptionError             a start-up option that cannot be honoured
├── RequestError            one request that cannot be served; carries `param` and `code`
│   └── ContextLengthError      prompt and output do not fit the context
├── QueueFullError          too many requests wait; carries `retry_after` in seconds
└── EngineStoppedError      the engine no longer takes requests
"""

from __future__ import annotations


class FtllmError(Exception):
    """Base class: `except FtllmError` catches everything below."""


class ModelSourceError(FtllmError):
    """MODEL cannot be found, fetched or verified."""


class CheckpointError(FtllmError):
    """A model file is damaged, incomplete or not supported."""


class UnsupportedModelError(CheckpointError):
    """The file is sound, but its architecture or number format is not one of ours."""


class GraphError(FtllmError):
    """A model's graph does not fit together, or a step does not fit it."""


class OptionError(FtllmError):
    """A start-up option that cannot be honoured."""


class RequestError(FtllmError):
    """One request that cannot be served.

    `param` names the offending field (OpenAI's spelling), `code` is OpenAI's string code.
    """

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_value"):
        super().__init__(message)
        self.param = param
        self.code = code


class ContextLengthError(RequestError):
    """Prompt and output do not fit the context."""

    def __init__(self, message: str, *, param: str | None = "messages"):
        super().__init__(message, param=param, code="context_length_exceeded")


class QueueFullError(FtllmError):
    """Too many requests wait; try again after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: int = 1):
        super().__init__(message)
        self.retry_after = retry_after


class EngineStoppedError(FtllmError):
    """The engine no longer takes requests."""
