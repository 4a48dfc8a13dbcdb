"""How much a chapter of the book computes: little on any laptop, or the real thing on a GPU."""

import dataclasses
import os

from colorseg.registry import look_up


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a chapter runs with.

    Attributes:
        name: `"quick"` or `"full"`.
        data: source for `data.load`.
        photographs: how many of the training split to use; None for all.
        image_size: side in pixels.
        epochs: passes over them.
        encoder_weights: as in `build_unet`.
        device: what it runs on, as the backend calls it.
    """

    name: str
    data: str
    photographs: int | None
    image_size: int
    epochs: int
    encoder_weights: str | None
    device: str = ""

    def __str__(self):
        """Returns the two lines that a page prints."""
        count = "all" if self.photographs is None else self.photographs
        return (
            f"profile {self.name} on {self.device}: {count} photographs of {self.data},\n"
            f"{self.image_size} px, {self.epochs} epochs, "
            f"encoder weights {os.path.basename(self.encoder_weights or 'none')}"
        )


PROFILES = {
    "quick": Profile("quick", "toy_pets", 256, 64, 6, None),
    "full": Profile("full", "oxford_iiit_pet", None, 128, 25, "imagenet"),
}


def profile():
    """Returns the profile of this run.

    It is the one that the environment variable `COLORSEG_PROFILE` names; without it, full where
    there is a GPU and the pets are prepared or can be fetched by Colab, and quick elsewhere.
    `COLORSEG_ENCODER_WEIGHTS` may name a file of encoder weights that is on this machine.

    Raises:
        ValueError: if the variable names an unknown profile; the message lists the known ones.
    """
    from colorseg.data import pets_are_prepared  # noqa: PLC0415 - imports TensorFlow
    from colorseg.machine import devices  # noqa: PLC0415

    found = ", ".join(devices())
    on_gpu = found != "cpu"
    on_colab = "COLAB_RELEASE_TAG" in os.environ
    best = "full" if on_gpu and (on_colab or pets_are_prepared()) else "quick"
    name = os.environ.get("COLORSEG_PROFILE") or best
    chosen = look_up(PROFILES, name, kind="profile")
    weights = os.environ.get("COLORSEG_ENCODER_WEIGHTS") or chosen.encoder_weights
    return dataclasses.replace(chosen, device=found, encoder_weights=weights)
