"""Room for connections among the files that the process may have open."""

from __future__ import annotations

import logging
import resource
from typing import Final

OTHER_FILES: Final = 256  # models, logs, libraries, whoever listens

server_log = logging.getLogger("ftllm.server")


def make_room(connections: int) -> None:
    """Raises the process's own limit as far as it may, and warns if that is not enough: beyond it,
    connections cannot be accepted. 0 = as many connections as there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = connections + OTHER_FILES if connections else hard
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if wanted != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if connections and soft < connections + OTHER_FILES:
        server_log.warning(
            "the process may have %d files open, too few for %d connections; raise `ulimit -n` to"
            " %d, or lower --max_connections",
            soft,
            connections,
            connections + OTHER_FILES,
        )
