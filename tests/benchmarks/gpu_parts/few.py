"""A plugin of pytest: of each test it leaves the first cases, as many as MOST."""

from __future__ import annotations

from collections import Counter

import pytest

MOST = 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seen: Counter[str] = Counter()
    few, others = [], []
    for item in items:
        test = item.nodeid.partition("[")[0]
        seen[test] += 1
        (few if seen[test] <= MOST else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = few
