"""Ties a line of the log to the request that it is about."""

from __future__ import annotations

import logging

from ftllm.server.log_format import TRACE_IDS
from ftllm.server.request_context import current_request


class RequestIdFilter(logging.Filter):
    """Lets all lines pass, and gives each the id of its request, if it has one."""

    def filter(self, record: logging.LogRecord) -> bool:
        context = current_request()
        record.request_id = None if context is None else context.request_id
        if context is not None and context.span is not None:
            setattr(record, TRACE_IDS, context.span.ids)
        return True
