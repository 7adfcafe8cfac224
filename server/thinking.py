"""What a request wants of the model's thinking, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ftllm.errors import OptionError, RequestError
from ftllm.text.thinking_switches import FLAGS, ThinkingSwitches
from ftllm.tool_parsers import AnyReasoningDialect


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingWish:
    """None leaves it to the server's default, and then to the model's template."""

    effort: str | None = None  # one of EFFORTS; "none" turns thinking off
    enabled: bool | None = None
    budget: int | None = None  # tokens; then the thinking is closed
    visible: bool = True  # the thinking is part of the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingPlan:
    """What to do: variables for the template, and what of the thinking is let through."""

    variables: Mapping[str, object]  # the request's own included
    off: bool  # the template is told not to think
    limit: int | None  # tokens
    visible: bool


class ThinkingPlanner:
    """Plans for one model: what its template can switch, and how its thinking is marked."""

    def __init__(
        self,
        switches: ThinkingSwitches,
        dialect: AnyReasoningDialect | None,
        *,
        default: str = "auto",  # or "on", "off": for requests that do not say
    ) -> None:
        self._switches = switches
        self._dialect = dialect
        self._default = default
        if default == "on" and dialect is None and not switches.any:
            raise OptionError(
                "think is on, but this model does not think: its chat template has no switch for"
                " it, and no reasoning parser is chosen."
            )

    @property
    def can_think(self) -> bool:
        return self._dialect is not None or self._switches.any

    @property
    def can_limit(self) -> bool:
        """It is known how thinking is marked, so it can be ended."""
        return self._dialect is not None

    def plan(self, wish: ThinkingWish, given: Mapping[str, object]) -> ThinkingPlan:
        """`given` are the request's own variables, which are not overruled. Raises `RequestError`
        for what this model cannot do."""
        enabled = self._enabled(wish, given)
        variables: dict[str, object] = {}
        limit = wish.budget
        if enabled is False:
            variables = self._switches.variables("none")
            if not variables and self._dialect is not None:
                limit = 0  # it thinks unasked, and is stopped at once
        elif wish.effort is not None:
            variables = self._switches.variables(wish.effort)
            if not variables and self._dialect is None:
                raise RequestError(
                    f"reasoning_effort is {wish.effort!r}, but this model does not think: its chat"
                    " template has no switch for it, and no reasoning parser is chosen (see"
                    " --reasoning_parser). Leave reasoning_effort out.",
                    param="reasoning_effort",
                    code="unsupported_value",
                )
        elif enabled:
            variables = self._switches.turned_on()
        if wish.budget is not None and self._dialect is None:
            raise RequestError(
                "thinking_token_budget: it is not known how this model marks its thinking, so it"
                " cannot be limited. Start the server with --reasoning_parser NAME, or leave the"
                " budget out.",
                param="thinking_token_budget",
                code="unsupported_value",
            )
        variables.update(given)
        return ThinkingPlan(
            variables=variables,
            off=self._switches.is_off(variables),
            limit=limit,
            visible=wish.visible,
        )

    def _enabled(self, wish: ThinkingWish, given: Mapping[str, object]) -> bool | None:
        """True or False when it is said to be so, the request before the server."""
        asked = [wish.enabled] if wish.enabled is not None else []
        asked += [wish.effort != "none"] if wish.effort is not None else []
        asked += [flag for name in FLAGS if isinstance(flag := given.get(name), bool)]
        if True in asked and False in asked:
            raise RequestError(
                "The request both turns thinking on and turns it off: look at reasoning_effort and"
                " chat_template_kwargs.",
                param="reasoning_effort",
            )
        if asked:
            return asked[0]
        return None if self._default == "auto" else self._default == "on"
