"""`ftllm run`: one prompt by flag or pipe."""

from __future__ import annotations

import pytest
from scripted_model import ScriptedEngine, fake_model
from typer.testing import CliRunner, Result

import ftllm.loading
from ftllm.cli.main import app
from ftllm.loading import LoadedModel, LoadOptions
from ftllm.progress import Progress


class Loader:
    """Gives a scripted model instead of a real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options: list[LoadOptions] = []
        self.model, self.engine = fake_model()
        monkeypatch.setattr(ftllm.loading, "load_model", self._load)

    def use(self, parts: tuple[LoadedModel, ScriptedEngine]) -> None:
        self.model, self.engine = parts

    def _load(self, options: LoadOptions, *, progress: Progress) -> LoadedModel:
        self.options.append(options)
        return self.model


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Loader:
    return Loader(monkeypatch)


def invoke(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["run", *arguments], input=stdin)


def test_standard_output_gets_only_the_answer(loader: Loader) -> None:
    result = invoke("some/model", "--prompt", "hi", "-t", "2")
    assert result.exit_code == 0
    assert result.stdout == "<user:hi;assistant:>\n"
    assert "21 tokens" in result.stderr
    assert "tok/s" in result.stderr
    assert "prompt 18 tokens (1 cached)" in result.stderr
    assert loader.options == [LoadOptions(model="some/model", threads=2)]


def test_drafts_are_counted_where_there_are_any(loader: Loader) -> None:
    assert "drafts" not in invoke("--prompt", "hi").stderr
    loader.use(fake_model(drafts=(9, 5)))
    result = invoke("--prompt", "hi", "--speculative", "ngram")
    assert "5 of 9 drafts accepted" in result.stderr
    assert loader.options[-1].speculative == "ngram"


def test_where_weights_are_kept_and_computed(loader: Loader) -> None:
    assert invoke("--prompt", "hi", "--pack_cache", "on", "--device", "numa").exit_code == 0
    assert loader.options[-1] == LoadOptions(pack_cache="on", device="numa")


def test_prompt_from_a_pipe(loader: Loader) -> None:
    assert invoke(stdin="from\na pipe").stdout == "<user:from\na pipe;assistant:>\n"


@pytest.mark.parametrize("arguments", [[], ["--prompt", " "]])
def test_empty_prompt_is_refused_before_the_model_is_loaded(
    loader: Loader, arguments: list[str]
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "prompt is empty" in result.stderr
    assert loader.options == []


def test_sampling_flags_reach_the_engine(loader: Loader) -> None:
    flags = ["--temperature", "0.5", "--top-p", "0.9", "--top_k", "3", "--seed", "7"]
    result = invoke("--prompt", "--hello_there", "--max-tokens", "4", *flags)
    assert result.stdout == "<use\n"
    (request,) = loader.engine.requests
    assert bytes(request.prompt_ids) == b"user:--hello_there;assistant:"
    params = request.params
    assert (params.temperature, params.top_p, params.top_k) == (0.5, 0.9, 3)
    assert (params.seed, params.max_tokens) == (7, 4)


def test_system_message(loader: Loader) -> None:
    assert invoke("--prompt", "hi", "--system", "be kind").stdout == (
        "<system:be kind;user:hi;assistant:>\n"
    )


def test_a_base_model_continues_the_text_and_says_so(loader: Loader) -> None:
    loader.use(fake_model(template=None))
    result = invoke("--prompt", "Once")
    assert result.stdout == "<Once>\n"
    assert "scripted has no chat template" in result.stderr


def test_a_base_model_takes_no_system_message(loader: Loader) -> None:
    loader.use(fake_model(template=None))
    result = invoke("--prompt", "Once", "--system", "be kind")
    assert result.exit_code == 2
    assert "--system needs a chat template" in result.stderr


def test_a_request_that_cannot_be_served_is_a_user_error(loader: Loader) -> None:
    loader.use(fake_model(max_model_len=5))
    result = invoke("--prompt", "too long for it")
    assert result.exit_code == 2
    assert "do not fit 5" in result.stderr
    assert result.stdout == ""
