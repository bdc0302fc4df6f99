"""What every test shares: where the real images lie, one thread, one seed."""

import os
import tempfile
from pathlib import Path

import pytest

# before torch: two test processes on two cores gain nothing from more threads
os.environ.setdefault("OMP_NUM_THREADS", "1")
# LightningCLI calls what jsonargparse has deprecated; the upper bound on jsonargparse is the answer
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# runs of the tests are not those of the user
os.environ.setdefault("SEGFOCAL_STATE", tempfile.mkdtemp(prefix="segfocal-state-"))

REPOSITORY = Path(__file__).parents[1]


def real_data_root() -> Path:
    """The folder of real images: SEGFOCAL_DATA, or shared/data beside the checkout."""
    return Path(os.environ.get("SEGFOCAL_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data():
    """Return a function that gives the folder of one real data set, or skips the test."""

    def folder(name: str) -> Path:
        path = real_data_root() / name
        if not path.is_dir():
            pytest.skip(f"no real images at {path}: set SEGFOCAL_DATA to the folder that holds {name}")
        return path

    return folder
