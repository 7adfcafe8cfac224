"""How a chat template lets a caller turn a model's thinking on, off, up and down."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from jinja2 import nodes

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""OpenAI's levels and those that others add, from no thinking at all to as much as there is."""

FLAGS = ("enable_thinking", "thinking")
"""Variables that templates read as a switch, the usual one first."""

_EFFORT = "reasoning_effort"
_BUDGET = "thinking_budget"  # tokens, told to the model in its prompt
_USUAL = ("low", "medium", "high")  # what a template understands that only prints the level
_OFF_VALUES = ("none", "no_think", "off", "disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingSwitches:
    """The variables of a template that are about thinking, and the values that it knows."""

    flag: str | None = None  # a variable that is true or false
    effort: bool = False  # it reads `reasoning_effort`
    efforts: tuple[str, ...] = ()  # texts that it compares the effort with
    closed: bool = False  # it refuses every other text, or treats it as none
    budget: bool = False  # it reads `thinking_budget`

    @property
    def any(self) -> bool:
        return self.flag is not None or self.effort or self.budget

    @property
    def can_turn_off(self) -> bool:
        return bool(self._off())

    def variables(self, effort: str) -> dict[str, object]:
        """The template's variables for one of `EFFORTS`; empty when it has no switch for it."""
        if effort == "none":
            return self._off()
        chosen: dict[str, object] = {}
        if self.flag is not None:
            chosen[self.flag] = True
        if self.effort:
            chosen[_EFFORT] = self._nearest(effort)
        return chosen

    def turned_on(self) -> dict[str, object]:
        """Thinking at the level that the template takes by itself."""
        return {} if self.flag is None else {self.flag: True}

    def is_off(self, variables: Mapping[str, object]) -> bool:
        """These variables turn thinking off."""
        if self.flag is not None and variables.get(self.flag) is False:
            return True
        if self.effort and self._off_effort() and variables.get(_EFFORT) in _OFF_VALUES:
            return True
        return self.budget and self.flag is None and variables.get(_BUDGET) == 0

    def _off(self) -> dict[str, object]:
        if self.flag is not None:
            return {self.flag: False}
        if self.effort and (value := self._off_effort()):
            return {_EFFORT: value}
        return {_BUDGET: 0} if self.budget else {}

    def _off_effort(self) -> str:
        return next((value for value in _OFF_VALUES if value in self.efforts), "")

    def _nearest(self, effort: str) -> str:
        """The level itself, or the next lower one that the template knows, or the lowest."""
        known = self.efforts if self.closed else (*self.efforts, *_USUAL)
        levels = [level for level in EFFORTS[1:] if level in known] or list(_USUAL)
        place = EFFORTS.index(effort)
        below = [level for level in levels if EFFORTS.index(level) <= place]
        return below[-1] if below else levels[0]


def find_thinking_switches(tree: nodes.Template, names: Collection[str]) -> ThinkingSwitches:
    """Of a parsed template; `names` are the variables that it reads and does not set itself."""
    compared = list(_compared_with_effort(tree))
    return ThinkingSwitches(
        flag=next((flag for flag in FLAGS if flag in names), None),
        effort=_EFFORT in names,
        efforts=tuple(dict.fromkeys(text for text, _ in compared)),
        closed=any(listed for _, listed in compared),
        budget=_BUDGET in names,
    )


def _compared_with_effort(tree: nodes.Template) -> Iterator[tuple[str, bool]]:
    """(text, it is one of a list)."""
    for comparison in tree.find_all(nodes.Compare):
        sides = [comparison.expr, *(operand.expr for operand in comparison.ops)]
        if not any(_is_effort(side) for side in sides):
            continue
        for side in sides:
            items = side.items if isinstance(side, nodes.List | nodes.Tuple) else None
            for item in [side] if items is None else items:
                if isinstance(item, nodes.Const) and isinstance(item.value, str):
                    yield item.value, items is not None


def _is_effort(node: nodes.Node | None) -> bool:
    if isinstance(node, nodes.Filter):
        return _is_effort(node.node)
    return isinstance(node, nodes.Name) and node.name == _EFFORT
