import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from colorseg import data

# A shell's background jobs, and what they start, ignore an interruption: tests send some.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def pets():
    """Skips where Oxford-IIIT Pet is not prepared."""
    if not data.pets_are_prepared():
        pytest.skip("Oxford-IIIT Pet is not prepared; set TFDS_DATA_DIR to a folder that has it")
    return "oxford_iiit_pet"


@pytest.fixture(scope="session")
def toys():
    """Two dozen toy pets of 64 pixels."""
    return data.resize(data.load("toy_pets", "validation").take(24), 64)
