"""Several chat templates that come under names, as one."""

from __future__ import annotations

from collections.abc import Mapping


def join_templates(templates: Mapping[str, str]) -> str | None:
    """One template that does what the named ones do: "tool_use" with tools, else "default".

    Other names are variants that only a caller can choose; they are used when there is no default.
    """
    default = templates.get("default") or next(iter(templates.values()), None)
    with_tools = templates.get("tool_use")
    if default is None or with_tools is None or with_tools == default:
        return default
    # A line break after a tag is trimmed, so those written here keep the ones of the templates.
    return (
        f"{{% if tools %}}\n{_without_last_break(with_tools)}"
        f"{{% else %}}\n{_without_last_break(default)}{{% endif %}}"
    )


def _without_last_break(source: str) -> str:
    """Jinja drops one line break at a template's end; inside a larger one it would stay."""
    return source.removesuffix("\n")
