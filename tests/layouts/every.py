"""All stand-ins; a module of layouts adds its own here."""

from layouts.medical import MEDICAL
from layouts.scenes import SCENES
from layouts.volumes import VOLUMES

EVERY = (*MEDICAL, *SCENES, *VOLUMES)
