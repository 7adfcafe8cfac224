"""What a JSON Schema may hold at most, so that it compiles in a bounded time and a bounded stack.

llguidance has limits of its own for most things. These are about the others, found by trying:
references are followed by recursion, an object's optional properties cost their number squared, and
`multipleOf` makes an automaton with a state for each remainder.
"""

from __future__ import annotations

import math
from decimal import Decimal

from ftllm.errors import RequestError

MAX_REFERENCES = 2000
MAX_PROPERTIES = 1000  # of one object
MAX_MULTIPLE = 1_000_000  # common multiple of all multipleOf, their decimal points moved away


def check_schema(schema: object) -> None:
    """Raises `RequestError` naming the keyword, its value and the limit."""
    references = 0
    multiple = 1
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        if not isinstance(node, dict):
            continue
        references += isinstance(node.get("$ref"), str)
        multiple = math.lcm(multiple, _whole(node.get("multipleOf")))
        if multiple > MAX_MULTIPLE:
            raise RequestError(
                f"The schema's multipleOf is {node['multipleOf']}; with others it makes a common"
                f" multiple of {multiple}, and at most {MAX_MULTIPLE} is allowed.",
                param="grammar",
            )
        properties = node.get("properties")
        if isinstance(properties, dict):
            _at_most("properties of an object", len(properties), MAX_PROPERTIES)
        pending.extend(node.values())
    _at_most("references ($ref)", references, MAX_REFERENCES)


def _whole(value: object) -> int:
    """A number's digits without a decimal point; 1 for what is no number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 1
    digits = Decimal(str(value)).normalize().as_tuple()
    whole = int("".join(map(str, digits.digits)))
    return whole * 10 ** max(0, int(digits.exponent)) if value < 10**12 else MAX_MULTIPLE + 1


def _at_most(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise RequestError(
            f"The schema has {count} {what}; at most {limit} are allowed.", param="grammar"
        )
