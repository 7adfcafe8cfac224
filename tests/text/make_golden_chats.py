"""Writes golden/chats.json: what transformers makes of the conversations.

    python tests/text/make_golden_chats.py SMOLLM2.gguf QWEN.gguf

Needs gguf, jinja2 and transformers (no torch).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from conversations import CONVERSATIONS
from gguf import GGUFReader
from transformers.utils.chat_template_utils import render_jinja_template


def render(template, conversation):
    chats, _ = render_jinja_template(
        conversations=[conversation["messages"]],
        tools=conversation.get("tools"),
        chat_template=template,
        add_generation_prompt=conversation.get("add_generation_prompt", True),
    )
    return chats[0]


def main(smollm2, qwen):
    golden = {}
    for name, path in (("smollm2-135m", smollm2), ("qwen2.5-coder-0.5b", qwen)):
        template = GGUFReader(path).fields["tokenizer.chat_template"].contents()
        golden[name] = [render(template, conversation) for conversation in CONVERSATIONS]
    target = Path(__file__).parent / "golden" / "chats.json"
    target.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
