import pytest

from colorseg import machine, profiles


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch):
    monkeypatch.delenv("COLORSEG_PROFILE", raising=False)
    monkeypatch.delenv("COLORSEG_ENCODER_WEIGHTS", raising=False)
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    monkeypatch.setattr(machine, "devices", lambda: ["cpu"])


def test_a_laptop_is_quick():
    assert profiles.profile().name == "quick"
    assert str(profiles.profile()).startswith("profile quick on cpu:")


@pytest.mark.parametrize(("prepared", "name"), [(True, "full"), (False, "quick")])
def test_a_gpu_is_full_where_the_pets_are(prepared, name, monkeypatch):
    monkeypatch.setattr(machine, "devices", lambda: ["Tesla T4"])
    monkeypatch.setattr("colorseg.data.pets_are_prepared", lambda: prepared)
    assert profiles.profile().name == name


def test_colab_with_a_gpu_is_full_and_fetches_the_pets(monkeypatch):
    monkeypatch.setattr(machine, "devices", lambda: ["Tesla T4"])
    monkeypatch.setattr("colorseg.data.pets_are_prepared", lambda: False)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    assert profiles.profile().name == "full"


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("COLORSEG_PROFILE", "full")
    assert profiles.profile().data == "oxford_iiit_pet"
    monkeypatch.setenv("COLORSEG_PROFILE", "fast")
    with pytest.raises(ValueError, match="unknown profile 'fast'; known: full, quick"):
        profiles.profile()


def test_encoder_weights_on_this_machine_are_used(monkeypatch):
    assert profiles.profile().encoder_weights is None
    monkeypatch.setenv("COLORSEG_ENCODER_WEIGHTS", "somewhere/encoder.weights.h5")
    assert profiles.profile().encoder_weights == "somewhere/encoder.weights.h5"
    assert str(profiles.profile()).endswith("encoder weights encoder.weights.h5")
