"""Lets Sphinx read the library's docstrings as they are meant.

A Sphinx extension, named in `_config.yml`; it works before Sphinx' own for this style (napoleon).
"""

import re


def to_rst(text):
    """Returns a docstring with marks that Sphinx understands.

    Code has one backtick on each side, as in Markdown, and gets two: in reStructuredText, one
    would be a cross-reference. What is returned is described in words, of which napoleon would
    take those before a colon for a type, were there none. The attributes of a dataclass are its
    arguments.

    Args:
        text: lines joined by newlines, indented as they will be shown.
    """
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)
    text = re.sub(r"^Returns:\n +", r"\g<0>: ", text, flags=re.MULTILINE)
    return re.sub(r"^Attributes:$", "Args:", text, flags=re.MULTILINE)


def setup(app):
    """Registers the extension with Sphinx."""
    app.connect(
        "autodoc-process-docstring", _process, priority=400
    )  # napoleon has 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _process(*event):
    lines = event[-1]  # changed in place
    lines[:] = to_rst("\n".join(lines)).split("\n")
