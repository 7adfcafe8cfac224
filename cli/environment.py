"""The variables that ftllm reads: one for every flag, and the ones listed here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "FTLLM_"


@dataclass(frozen=True, slots=True)
class Variable:
    """One that is not simply called after a flag."""

    name: str
    meaning: str
    key: str | None = None  # the flag whose value it has, where it is an older name of that
    secret: bool = False


VARIABLES: Final = (
    Variable("FTLLM_API_KEYS", "API keys beside those of --api_key, comma separated", secret=True),
    Variable("FTLLM_ADMIN_API_KEYS", "the same for --admin_api_key", secret=True),
    Variable("FTLLM_METRICS_KEYS", "the same for --metrics_key", secret=True),
    Variable("FTLLM_CACHE", "another name of FTLLM_CACHE_DIR", key="cache_dir"),
    Variable("FTLLM_ISA", "the instruction set whose kernels run"),
)

# What Kubernetes sets in every Pod for a Service whose name begins with "ftllm".
_SERVICE_LINK = re.compile(
    r"FTLLM(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def variables_of(key: str) -> tuple[str, ...]:
    """Those that give the flag `key` its value; the first that is set counts."""
    others = (variable.name for variable in VARIABLES if variable.key == key)
    return (f"{PREFIX}{key.upper()}", *others)


def set_variable(key: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """Name and value. One that is empty counts as not set, as does the address of a Service."""
    for name in variables_of(key):
        value = environment.get(name, "")
        if value.strip() and not is_service_link(name, value):
            return name, value
    return None


def is_service_link(name: str, value: str) -> bool:
    """FTLLM_PORT is one if its value says so; no flag is called as the others are."""
    if name.endswith("_PORT") and _SERVICE_ADDRESS.match(value):
        return True
    return bool(_SERVICE_LINK.fullmatch(name))
