import pytest
from served import made


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return made(tmp_path_factory.mktemp("served") / "run")
