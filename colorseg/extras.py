"""Packages that only some uses need: the extras of pyproject.toml."""

import importlib


def import_extra(module, extra):
    """Imports a module, such as `"sklearn.ensemble"` or `"ipywidgets"`, of an extra.

    Raises:
        ImportError: if it is not installed; the message tells how it would be.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.partition('.')[0]} is not installed, which this needs ({error}): "
            f'pip install "colorseg[{extra}]"'
        ) from error
