"""The `pypi:` form of MODEL."""

from __future__ import annotations

import pytest

from ftllm.errors import ModelSourceError
from ftllm.sources.pypi_spec import parse_spec


@pytest.mark.parametrize(
    ("model", "requirements", "member", "name"),
    [
        ("pypi:Tiny_Model", ("tiny-model",), None, "tiny_model"),
        ("pypi:tiny==0.1.2", ("tiny==0.1.2",), None, "tiny"),
        ("pypi:tiny==1!2.0+cpu", ("tiny==1!2.0+cpu",), None, "tiny"),
        ("pypi:tiny#member=*.Q4_0.gguf", ("tiny",), "*.Q4_0.gguf", "tiny"),
        ("pypi:b==1,a==2#member=data/*", ("b==1", "a==2"), "data/*", "b"),
        ("pypi:b==1, a==2#member=x", ("b==1", "a==2"), "x", "b"),
        (
            "pypi:c-part{9..11}==3#member=data/p*.bin",
            ("c-part9==3", "c-part10==3", "c-part11==3"),
            "data/p*.bin",
            "c-part",
        ),
        ("pypi:c{08..10}==3#member=p", ("c08==3", "c09==3", "c10==3"), "p", "c"),
        ("pypi:c{1..2}==3,d==1#member=p", ("c1==3", "c2==3", "d==1"), "p", "c"),
        ("pypi:c{1..1}==3", ("c1==3",), None, "c"),
    ],
)
def test_what_it_means(
    model: str, requirements: tuple[str, ...], member: str | None, name: str
) -> None:
    spec = parse_spec(model)
    assert (spec.requirements, spec.member, spec.name) == (requirements, member, name)
    assert parse_spec(spec.canonical).requirements == requirements
    assert parse_spec(spec.canonical).member == member


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("pypi:", "'' is not a package"),
        ("pypi:--index-url=x", "'--index-url=x' is not a package"),
        ("pypi:a>=1", "'a>=1' is not a package"),
        ("pypi:a==", "'a==' is not a package"),
        ("pypi:a==1 -r x", "is not a package"),
        ("pypi:../a", "is not a package"),
        ("pypi:a==1,,b==1#member=x", "'' is not a package"),
        ("pypi:a==1,b==1", "need #member=GLOB"),
        ("pypi:a==1,b#member=x", "add one to b"),
        ("pypi:a#file=x", "use #member=GLOB"),
        ("pypi:a#member=", "use #member=GLOB"),
        ("pypi:a#member=/", "use #member=GLOB"),
        ("pypi:a#member=/etc/x", "use #member=GLOB"),
        ("pypi:a{3..1}==1#member=x", "FIRST..LAST"),
        ("pypi:a{1..2}{1..2}==1#member=x", "one range"),
        ("pypi:a{1..5000}==1#member=x", "at most 1000"),
        ("pypi:a{1..}==1#member=x", "is not a package"),
    ],
)
def test_what_it_cannot_mean(model: str, message: str) -> None:
    with pytest.raises(ModelSourceError) as caught:
        parse_spec(model)
    assert message in str(caught.value)
    assert model in str(caught.value)


def test_each_meaning_has_its_own_place_in_the_cache() -> None:
    models = ["pypi:a", "pypi:a==1", "pypi:a==2", "pypi:a==1#member=x", "pypi:b"]
    places = {parse_spec(model).cache_name for model in models}
    assert len(places) == len(models)
    assert parse_spec("pypi:A_b==1").requirements == parse_spec("pypi:a-b==1").requirements
    assert all(place == place.strip("./") and "/" not in place for place in places)
