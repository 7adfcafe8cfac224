"""`ftllm download`: fetch a model without running it."""

from pathlib import Path
from typing import Annotated

import typer

from ftllm.cli.configuration import configurable
from ftllm.cli.load_options import (
    CacheDirOption,
    ModelArgument,
    ModelsFileOption,
    RevisionOption,
)
from ftllm.cli.verb import reports_errors


@reports_errors
@configurable
def download(
    model: ModelArgument = None,
    local_dir: Annotated[
        Path | None,
        typer.Option(
            "--local_dir",
            metavar="DIR",
            help="Put the files here instead of into the cache.",
            show_default=False,
            file_okay=False,
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="GLOB",
            help="Files of a Hugging Face repo to fetch; repeatable. Default: what ftllm reads.",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="GLOB",
            help="Files of a Hugging Face repo to leave out; repeatable.",
            show_default=False,
        ),
    ] = None,
    cache_dir: CacheDirOption = None,
    revision: RevisionOption = None,
    models_file: ModelsFileOption = None,
) -> None:
    """Fetch MODEL, verify it and print where it is."""
    from ftllm.progress import RichProgress
    from ftllm.sources.download import download as fetch  # here, so that --help stays quick

    path = fetch(
        model,
        local_dir=local_dir,
        include=include or (),
        exclude=exclude or (),
        cache_dir=cache_dir,
        revision=revision,
        models_file=models_file,
        progress=RichProgress(),
    )
    typer.echo(path)
