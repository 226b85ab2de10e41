"""Which images belong together: the product's own, and all that the demo and the tests use."""

from pathlib import Path

from mooring_dev.images import debian, product, tools


def product_archive() -> Path:
    """Returns the archive of the product's image, built first when the checkout has changed."""
    return product.product_archive()


def everything() -> list[Path]:
    """Returns the archives of all images besides those that every node has from its start."""
    sidecars = [tools.tool_archive(program) for program in tools.SIDECARS]
    return [*sidecars, debian.postgres_archive(), product.product_archive()]
