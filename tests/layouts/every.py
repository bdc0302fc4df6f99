"""All stand-ins; a module of layouts adds its own here."""

from layouts.medical import MEDICAL

EVERY = (*MEDICAL,)
