"""Packages that only the baselines need."""

import importlib


def import_extra(module):
    """Imports a module of the extra `baselines`, such as `"sklearn.ensemble"` or `"cv2"`.

    Raises:
        ImportError: if it is not installed; the message tells how it would be.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this baseline needs {module.partition('.')[0]} ({error}); install it with: "
            'pip install "colorseg[baselines]"'
        ) from error
