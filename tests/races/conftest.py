from collections.abc import Iterator

import pytest

from tests.races.actors import Actors


@pytest.fixture
def actors() -> Iterator[Actors]:
    actors = Actors()
    yield actors
    actors.close()
