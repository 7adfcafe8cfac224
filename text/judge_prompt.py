"""The prompt that asks a causal reranker whether a document answers a query."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ftllm.errors import OptionError

# The published wording for rerankers that answer "yes" or "no" (arXiv:2506.05176), with the
# instruction for web search and the thinking left empty.
_PUBLISHED = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and"
    ' the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that answer"
    " the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
_PLACE = re.compile(r"\{(query|document)\}")


class JudgePrompt:
    """`template` has {query} and {document}. Raises `OptionError` if it lacks one."""

    def __init__(self, template: str = _PUBLISHED) -> None:
        for place in ("query", "document"):
            if f"{{{place}}}" not in template:
                raise OptionError(f"the reranking template has no {{{place}}}")
        self._template = template

    def render(self, query: str, document: str) -> str:
        """Both texts in their places, as they are: a "{document}" in the query stays text."""
        texts: Mapping[str, str] = {"query": query, "document": document}
        return _PLACE.sub(lambda place: texts[place[1]], self._template)
