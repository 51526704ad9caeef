"""The undisturbed run that the disturbed ones are held against."""

import fault_jobs
import pytest


@pytest.fixture(scope="session")
def data(demo_data):
    return demo_data / "relation"


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, data):
    """Its folder; it wrote checkpoints at ends of epochs alone."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert fault_jobs.train(folder, data) == 0, fault_jobs.said(folder)
    assert len(fault_jobs.numbers(folder)) == 3 * (3 + 1)
    return folder
