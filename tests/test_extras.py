import sys

import pytest

from colorseg.extras import import_extra


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    message = r'sklearn is not installed, .*pip install "colorseg\[baselines\]"'
    with pytest.raises(ImportError, match=message):
        import_extra("sklearn.ensemble", "baselines")
