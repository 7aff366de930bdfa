"""Trainers for tests: each request is answered by one method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class OneByOne:
    """Subclasses say what becomes of one fit and of one prediction."""

    def fit(self, request: Any) -> Any:
        raise NotImplementedError

    def answer(self, request: Any) -> Any:
        raise NotImplementedError

    def train(self, requests: Sequence[Any]) -> list[Any]:
        return [self.fit(request) for request in requests]

    def predict(self, requests: Sequence[Any]) -> list[Any]:
        return [self.answer(request) for request in requests]
