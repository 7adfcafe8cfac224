"""Pages of a response's input items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftllm.errors import RequestError
from ftllm.server.schemas.responses import InputItem

MAX_PAGE = 100  # items, OpenAI's limit


def item_page(items: Sequence[InputItem], query: Mapping[str, str]) -> dict[str, object]:
    """OpenAI's list object for `limit`, `order` and `after` of a query string."""
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise RequestError(f"order is {order[:20]!r}; it must be asc or desc.", param="order")
    limit = query.get("limit", "20")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MAX_PAGE):
        raise RequestError(
            f"limit is {limit[:20]!r}; it must be from 1 to {MAX_PAGE}.", param="limit"
        )
    rows = list(items if order == "asc" else reversed(items))
    after = query.get("after")
    if after is not None:
        place = next((at for at, item in enumerate(rows) if item.id == after), None)
        if place is None:
            raise RequestError(
                f"after: {after[:200]!r} is the id of none of the items.", param="after"
            )
        rows = rows[place + 1 :]
    page = [item.model_dump(exclude_none=True) for item in rows[: int(limit[:9])]]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(page) < len(rows),
    }
