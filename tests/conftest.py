from pathlib import Path

import pytest

from rehearse.core.config import DatasetSection
from rehearse.core.staging import read_manifest
from support import cells

PROCESS_FOLDERS = {"distributed", "workflow", "e2e"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Tests that start ranks or jobs run one after the other, beside the others: `pytest -n 2 --dist loadgroup`."""
    tests = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(tests).parts[0]
        if folder in PROCESS_FOLDERS or item.get_closest_marker("world_size"):
            item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory):
    """A folder in which the bundled digits are staged."""
    folder = tmp_path_factory.mktemp("datasets")
    done = cells.rehearse("stage", "digits", "--dataset-dir", str(folder))
    assert done.returncode == 0, done.stderr
    assert read_manifest(DatasetSection(name="digits"), folder).name == "digits"
    return folder
