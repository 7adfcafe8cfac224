"""GLM-4.5 and 4.6."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import think_tags

REASONING = think_tags("glm45")
