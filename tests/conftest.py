import pytest

from rehearse.core.config import DatasetSection
from rehearse.core.staging import read_manifest
from support import cells


@pytest.fixture(scope="session")
def dataset_dir(tmp_path_factory):
    """A folder in which the bundled digits are staged."""
    folder = tmp_path_factory.mktemp("datasets")
    done = cells.rehearse("stage", "digits", "--dataset-dir", str(folder))
    assert done.returncode == 0, done.stderr
    assert read_manifest(DatasetSection(name="digits"), folder).name == "digits"
    return folder
