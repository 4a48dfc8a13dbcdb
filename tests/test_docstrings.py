import docstrings
import pytest
from sphinx.ext.napoleon import Config, GoogleDocstring

import colorseg


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("float `[..., 3]` in `[0, 1]`.", "float ``[..., 3]`` in ``[0, 1]``."),
        ("a `(gray,\n    target)` pair", "a ``(gray,\n    target)`` pair"),
        ("already ``so``", "already ``so``"),
        ("Attributes:\n    name: a word.", "Args:\n    name: a word."),
        ("Returns: as `load`.", "Returns: as ``load``."),
    ],
)
def test_marks_are_changed(written, expected):
    assert docstrings.to_rst(written) == expected


def test_what_is_returned_has_no_type():
    written = (
        "Adds.\n\nReturns:\n    The sum, in [0, 1]: nothing else.\n\nRaises:\n    ValueError: no."
    )
    config = Config(napoleon_use_rtype=False)
    found = str(GoogleDocstring(docstrings.to_rst(written), config))
    assert ":returns: The sum, in [0, 1]: nothing else." in found
    assert ":raises ValueError: no." in found


@pytest.mark.parametrize("name", colorseg.__all__)
def test_backticks_of_public_names_come_in_pairs(name):
    text = docstrings.to_rst(getattr(colorseg, name).__doc__ or "")
    assert "`" not in text.replace("``", "")
