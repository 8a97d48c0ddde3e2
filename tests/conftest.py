"""What every test shares: poisoned memory, folders of its own, and one switch for golden files."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the code generators print now into tests/golden",
    )
    parser.addoption(
        "--sweep-examples",
        type=int,
        metavar="N",
        help="draw N calls in each sweep over shapes and options, instead of a few",
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's configs and kernel cache stay out of tests; a whole run shares one cache."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(base / "config"))
        patch.setenv("XDG_CACHE_HOME", str(base / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored; tests that raise it need the usual."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def same_defaults(own_folders: None) -> Iterator[None]:
    """Nothing is tuned for this machine, whatever `make autotune` left in the checkout; a test may
    set another config store or cache, and the next one has the run's own again."""
    from hsa_compiler.cache import default_cache, set_default_cache
    from hsa_compiler.configs import ConfigStore, set_default_store

    cache, store = default_cache(), ConfigStore([])
    set_default_store(store)
    yield
    set_default_cache(cache)
    set_default_store(store)


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fresh tensors hold NaN (or the largest integer), so an output nobody wrote cannot pass."""
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def checkout() -> Path:
    """The repository root."""
    return Path(__file__).resolve().parent.parent
