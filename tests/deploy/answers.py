"""What every way to reach replicas has to let through."""

from __future__ import annotations

from openai import OpenAI


def check_answers(url: str, *, model: str) -> None:
    """An answer as a whole, and one as a stream."""
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120)
    whole = client.completions.create(model=model, prompt="The sea is", max_tokens=5)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 5
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Hi"}],
            max_tokens=5,
            stream=True,
            extra_body={"ignore_eos": True},
        )
    )
    assert len(chunks) >= 5
    assert chunks[-1].choices[0].finish_reason == "length"
