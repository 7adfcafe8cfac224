"""What `serve run ftllm.deploy.ray:app …` takes, without a Ray that runs."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import pytest
from pydantic import ValidationError

from ftllm.errors import OptionError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Ray is warned of while it is imported
    pytest.importorskip("ray", reason="Ray is not there: pip install '.[deploy-test]'")
    from ftllm.deploy import ray as deploy_ray
    from ftllm.deploy.ray import Arguments, app


def read(**given: object) -> Arguments:
    return Arguments.model_validate(given)


def test_ray_finds_the_arguments_class() -> None:
    (parameter,) = inspect.signature(deploy_ray.app).parameters.values()
    assert parameter.annotation is Arguments


def test_texts_of_the_command_line_become_values() -> None:
    arguments = read(
        model="m",
        num_replicas="3",
        tokens="2048",
        lenient="true",
        cache_dir="/c",
        request_timeout="9",
    )
    load, settings = arguments.load_options(), arguments.server_settings()
    assert arguments.num_replicas == 3
    assert (load.model, load.tokens, load.cache_dir) == ("m", 2048, Path("/c"))
    assert (settings.lenient, settings.limits.request_timeout) == (True, 9.0)


@pytest.mark.parametrize(
    ("given", "threads"), [({}, 1), ({"num_cpus": "4.5"}, 4), ({"num_cpus": 4, "threads": 2}, 2)]
)
def test_threads_are_whole_cpus(given: dict[str, object], threads: int) -> None:
    assert read(**given).load_options().threads == threads


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"tokns": 1}, "tokns is no argument"),
        ({"port": 80}, "port is no argument"),
        ({"num_replicas": 0}, "num_replicas"),
        ({"num_replicas": 2, "max_replicas": 3}, "exclude each other"),
        ({"min_replicas": 2}, "min_replicas needs max_replicas"),
        ({"target_ongoing_requests": 2}, "target_ongoing_requests needs max_replicas"),
        ({"min_replicas": 4, "max_replicas": 3}, "min_replicas is 4"),
    ],
)
def test_wrong_arguments_are_refused(given: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        read(**given)


def test_wrong_values_are_refused_and_keys_not_shown() -> None:
    with pytest.raises(OptionError, match="tokens is 'many'"):
        app(read(tokens="many"))
    with pytest.raises(OptionError) as caught:
        app(read(api_keys="sk-secret"))
    assert "sk-secret" not in str(caught.value)
    with pytest.raises(ValidationError) as refused:
        read(api_keys=["sk-secret"], tokns=1)
    assert "sk-secret" not in str(refused.value)


def test_it_builds_an_application() -> None:
    assert app(read(model="m", num_replicas=2)) is not None
    scaled = app(read(model="m", min_replicas=0, max_replicas=4, target_ongoing_requests=3))
    assert scaled is not None
