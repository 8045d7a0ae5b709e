"""What every test relies on."""

import os
import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Ctrl-C arrives, also where the tests were started in the background with SIGINT ignored (which is inherited)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def no_traces(tmp_path_factory):
    """Nothing is kept in the user's cache folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
