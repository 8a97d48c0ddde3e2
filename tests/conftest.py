"""What every test shares: poisoned memory, folders of its own, and one switch for golden files."""

from __future__ import annotations

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


@pytest.fixture(autouse=True)
def same_defaults(own_folders: None) -> Iterator[None]:
    """A test may set another config store or cache; the next one has the run's own again."""
    from hsa_compiler.cache import default_cache, set_default_cache
    from hsa_compiler.configs import default_store, set_default_store

    cache, store = default_cache(), default_store()
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
