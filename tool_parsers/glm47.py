"""GLM-4.7 and 5."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import think_tags

REASONING = think_tags("glm47")
