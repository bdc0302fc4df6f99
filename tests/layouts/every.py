"""All stand-ins; a module of layouts adds its own here."""

from layouts.medical import MEDICAL
from layouts.volumes import VOLUMES

EVERY = (*MEDICAL, *VOLUMES)
