"""`helm test`: one chat request through the Service."""

import json
import os
import urllib.request

URL = os.environ["FTLLM_URL"]
HEADERS = {
    "Content-Type": "application/json",
    "Authorization": f"Bearer {os.environ.get('FTLLM_API_KEY', 'none')}",
}
# Environments with a proxy: the Service is not behind it.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(path: str, body: dict[str, object] | None = None) -> dict[str, list[dict]]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, HEADERS)
    with OPENER.open(request, timeout=120) as answer:
        return json.load(answer)


model = call("/v1/models")["data"][0]["id"]
messages = [{"role": "user", "content": "Say hello."}]
chat = call("/v1/chat/completions", {"model": model, "messages": messages, "max_tokens": 16})
print(json.dumps(chat["choices"][0]))
assert chat["choices"][0]["finish_reason"] in ("stop", "length"), chat
