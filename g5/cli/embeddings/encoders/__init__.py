"""`g5 encoders`: its commands are the modules of this package."""

import click

from g5.cli.groups import PackageGroup


@click.group(cls=PackageGroup, sections={"Commands": __name__}, invoke_without_command=True)
@click.pass_context
def encoders(ctx: click.Context) -> None:
    """List the encoders; check one of your own.

    \b
    g5 encoders
    g5 encoders check my_pkg.models.MyEncoder --head my_pkg.models.MyHead
    """
    if ctx.invoked_subcommand is None:
        from g5.embeddings.encoders.catalogue import list_encoders

        list_encoders()
