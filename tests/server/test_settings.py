from __future__ import annotations

import pytest

from ftllm.errors import OptionError
from ftllm.server.settings import ServerSettings


def test_listens_everywhere_only_with_a_key() -> None:
    assert ServerSettings().bind_host == "127.0.0.1"
    assert ServerSettings(api_keys=("k",)).bind_host == "0.0.0.0"
    assert ServerSettings(api_keys=("k",), host="10.0.0.1").bind_host == "10.0.0.1"
    assert ServerSettings().port == 8080


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "my-host"])
def test_warns_of_an_open_server(host: str) -> None:
    (warning,) = ServerSettings(host=host).warnings
    assert host in warning
    assert ServerSettings(host=host, api_keys=("k",)).warnings == ()


@pytest.mark.parametrize("host", [None, "127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_does_not_warn_of_a_local_server(host: str | None) -> None:
    assert ServerSettings(host=host).warnings == ()


def test_refuses_what_cannot_be_honoured() -> None:
    with pytest.raises(OptionError, match="70000"):
        ServerSettings(port=70000)
    with pytest.raises(OptionError, match="empty"):
        ServerSettings(api_keys=("good", " "))
    with pytest.raises(OptionError, match="max_body_bytes"):
        ServerSettings(max_body_bytes=0)
    with pytest.raises(OptionError, match="loud"):
        ServerSettings(log_level="loud")


def test_keys_do_not_show_in_the_repr() -> None:
    assert "hunter2" not in repr(ServerSettings(api_keys=("hunter2",)))
