"""Seed-OSS."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect

REASONING = ReasoningDialect("seed_oss", ("<seed:think>",), ("</seed:think>",))
