"""One fit in a cohort: its place in training, its callbacks, what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import keras
import numpy as np

from ..randomness import epoch_order
from .lanes import Lanes, Lone
from .reached import Point
from .requests import FitRequest, FitResult, plain_history, plain_value
from .seeding import Generators, resumed
from .stand_ins import StandIn, compare_as_before, compare_quickly, stand_in_suffices
from .steps import State, put_state, state_of
from .structures import Structure

Logs = dict[str, Any]
Look = Callable[[], State]  # fetches the state of one fit


class EpochLogs:
    """The logs of an epoch for all fits of a cohort, fetched from the device when read."""

    def __init__(self, logs: Logs, lanes: Lanes) -> None:
        self._logs, self._lanes = logs, lanes
        self._fetched: dict[str, np.ndarray] | None = None

    def of(self, lane: int) -> Logs:
        if self._fetched is None:
            self._fetched = {n: np.asarray(value) for n, value in sorted(self._logs.items())}
            self._logs = {}
        fetched = self._fetched.items()
        return {name: plain_value(self._lanes.values(array, lane)) for name, array in fetched}

    def columns(self, lane: int) -> dict[str, list[Any]]:
        """A list with one value for each quantity."""
        return {name: [value] for name, value in self.of(lane).items()}


class RunLogs:
    """The logs of several epochs, with a first axis of epochs."""

    def __init__(self, logs: Logs, lanes: Lanes, n_epochs: int) -> None:
        self._lanes = lanes
        self._fetched = {n: np.asarray(array)[:n_epochs] for n, array in sorted(logs.items())}

    def columns(self, lane: int) -> dict[str, list[Any]]:
        """One value per epoch for each quantity."""
        fetched = self._fetched.items()
        return {name: _plain_column(self._lanes.columns(array, lane)) for name, array in fetched}


def _plain_column(column: np.ndarray) -> list[Any]:
    if column.ndim == 1:
        values: list[Any] = column.astype(float).tolist()
        return values
    return [plain_value(value) for value in column]


class HasColumns(Protocol):
    def columns(self, lane: int) -> dict[str, list[Any]]: ...


class Change:
    """What callbacks did to a fit: a whole new state, or a new learning rate."""

    def __init__(self, state: State | None = None, rate: tuple[int, Any] | None = None) -> None:
        self._state, self._rate = state, rate

    def apply(self, lanes: Lanes, joined: State, lane: int) -> State:
        if self._state is not None:
            return lanes.replace(joined, lane, self._state)
        if self._rate is not None:
            return lanes.with_optimizer_value(joined, lane, *self._rate)
        return joined


NO_CHANGE = Change()
_LONE = Lone()


class Member:
    """A fit without callbacks: nothing is read before the end."""

    needs_metrics = False  # the objects
    needs_all_variables = False  # those of the model's metrics too
    sees_every_epoch = False

    def __init__(self, request: FitRequest, structure: Structure, state: State) -> None:
        self.request, self.structure = request, structure
        self._state: State | None = state
        self.seconds = 0.0  # what preparing it took
        self.epoch = request.initial_epoch
        self.done = self.epoch >= request.epochs
        self.way: Hashable | None = None  # where fits that go the same way can go on from it
        self._earlier: Point | None = None
        self._logs: list[tuple[list[int], HasColumns, HasColumns | None, int]] = []

    def go_on_from(self, earlier: Point) -> None:
        """Start from where a fit was that went the same way."""
        self._earlier, self.epoch = earlier, earlier.epoch
        self.request = replace(self.request, initial_epoch=earlier.epoch)
        self._state = earlier.state._replace(metrics=self.structure.no_metrics)

    @property
    def state(self) -> State:
        """The state to start from, before it is taken."""
        assert self._state is not None
        return self._state

    @property
    def order(self) -> np.ndarray:
        """The training rows of this epoch, in the order in which they are taken."""
        return self.order_of(self.epoch)

    def order_of(self, epoch: int) -> np.ndarray:
        n_rows = len(self.request.training)
        if not self.request.shuffle:
            return np.arange(n_rows)
        return epoch_order(n_rows, epoch, self.request.seed)

    @property
    def n_epochs_left(self) -> int:
        return self.request.epochs - self.epoch

    @property
    def validates(self) -> bool:
        """Whether this epoch ends with a look at the validation rows."""
        held = self.request.validation is not None
        return held and (self.epoch + 1) % self.request.validation_freq == 0

    def begin(self) -> None:
        """Before the first epoch."""

    def take_state(self) -> State:
        """The state to start from; from now on it lives in the cohort."""
        assert self._state is not None
        state, self._state = self._state, None
        return state

    @property
    def may_stop_within_epoch(self) -> bool:
        """Whether an epoch may have to be repeated up to some batch."""
        return False

    def begin_epoch(self, look: Look) -> Change:
        return NO_CHANGE

    def stops_after(self, losses: Callable[[], np.ndarray]) -> int | None:
        """The number of batches after which this epoch is broken off, or None."""
        return None

    def begin_validation(self, look: Look) -> Change:
        return NO_CHANGE

    def end_validation(self, look: Look, logs: EpochLogs, lane: int) -> Change:
        return NO_CHANGE

    def end_epoch(self, look: Look, logs: EpochLogs, held: EpochLogs | None, lane: int) -> Change:
        self._logs.append(([self.epoch], logs, held, lane))
        self._count_epoch()
        return NO_CHANGE

    def end_epochs(self, n_epochs: int, logs: RunLogs, held: RunLogs | None, lane: int) -> None:
        """Several epochs have passed that nobody looked at."""
        epochs = list(range(self.epoch, self.epoch + n_epochs))
        self._logs.append((epochs, logs, held, lane))
        self.epoch += n_epochs
        self.done = self.epoch >= self.request.epochs

    def finish(self, state: State) -> FitResult:
        """Give the model what training has made of it, and tell how it went."""
        self._hand_over(state)
        history = keras.callbacks.History()
        history.on_train_begin()
        if self._earlier is not None:
            history.epoch.extend(self._earlier.epochs)
            history.history.update({n: [*old] for n, old in self._earlier.history.items()})
        for epochs, logs, held, lane in self._logs:
            history.epoch.extend(epochs)
            for name, values in _with_held(
                logs.columns(lane), held.columns(lane) if held else None
            ).items():
                history.history.setdefault(name, []).extend(values)
        self._logs.clear()
        if self.request.keeps_model:
            return replace(_result(history), state=state)
        history.set_model(self.request.model)
        self.request.model.history = history
        return _result(history)

    def _count_epoch(self, stop: bool = False) -> None:
        self.epoch += 1
        self.done = stop or self.epoch >= self.request.epochs

    def _hand_over(self, state: State) -> None:
        model = self.request.model
        if self.request.keeps_model:
            return
        put_state(model, state)
        if self.request.epochs > 0:
            model.optimizer.finalize_variable_values(model.trainable_variables)


class _WithCallbacks(Member):
    """Calls the callbacks when Keras would; subclasses say what they see of the model."""

    sees_every_epoch = True

    def __init__(self, request: FitRequest, structure: Structure, state: State, model: Any) -> None:
        super().__init__(request, structure, state)
        self._model = model
        self._callbacks = list(request.callbacks)
        self._generators = request.generators
        self._last: Logs = {}
        self._hooks = keras.callbacks.CallbackList(
            self._callbacks,
            add_history=True,
            model=model,
            verbose=0,
            epochs=request.epochs,
            steps=request.n_batches,
        )

    def _seen(self, look: Look, call: Callable[[], None]) -> Change:
        """Let callbacks see that state, and tell what they changed in it."""
        raise NotImplementedError

    def begin(self) -> None:
        self._model.stop_training = False

        state = self.take_state()
        self._state = self._seen(lambda: state, self._hooks.on_train_begin).apply(_LONE, state, 0)

    def begin_epoch(self, look: Look) -> Change:
        return self._seen(look, lambda: self._hooks.on_epoch_begin(self.epoch))

    def begin_validation(self, look: Look) -> Change:
        return self._seen(look, self._hooks.on_test_begin)

    def end_validation(self, look: Look, logs: EpochLogs, lane: int) -> Change:
        return self._seen(look, lambda: self._hooks.on_test_end(logs.of(lane)))

    def end_epoch(self, look: Look, logs: EpochLogs, held: EpochLogs | None, lane: int) -> Change:
        self._last = _merged(logs, held, lane)
        change = self._seen(look, lambda: self._hooks.on_epoch_end(self.epoch, self._last))
        self._count_epoch(stop=bool(self._model.stop_training))
        return change

    def finish(self, state: State) -> FitResult:
        self._hand_over(state)
        self._hooks.set_model(self.request.model)
        with self._drawing():
            self._hooks.on_train_end(self._last)
        return _result(self.request.model.history)

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """What callbacks draw at random goes on where the builder left off."""
        with resumed(self._generators):
            yield
            self._generators = Generators.now()


class SeenByStandIn(_WithCallbacks):
    """Keras's own callbacks that a stand-in is enough for."""

    needs_metrics = True

    def __init__(self, request: FitRequest, structure: Structure, state: State) -> None:
        assert structure.metrics is not None
        stand_in = StandIn(request.model, structure.metrics)
        super().__init__(request, structure, state, stand_in)
        of_kind = keras.callbacks.TerminateOnNaN
        self._stops_at_nan = [c for c in self._callbacks if isinstance(c, of_kind)]
        draws = keras.callbacks.LearningRateScheduler
        self._may_draw = any(isinstance(callback, draws) for callback in self._callbacks)

    def _seen(self, look: Look, call: Callable[[], None]) -> Change:
        self._model.see(look)
        if self._may_draw:
            with self._drawing():
                call()
        else:
            call()
        compare_quickly(self._callbacks)
        return Change(rate=self._model.optimizer.new_rate())

    @property
    def may_stop_within_epoch(self) -> bool:
        return bool(self._stops_at_nan)

    def begin_validation(self, look: Look) -> Change:
        return NO_CHANGE

    def end_validation(self, look: Look, logs: EpochLogs, lane: int) -> Change:
        return NO_CHANGE

    def stops_after(self, losses: Callable[[], np.ndarray]) -> int | None:
        if not self._stops_at_nan:
            return None
        values = losses()
        bad = np.flatnonzero(~np.isfinite(values))
        if not len(bad):
            return None
        batch = int(bad[0])
        for callback in self._stops_at_nan:
            callback.on_train_batch_end(batch, {"loss": float(values[batch])})
        return batch + 1

    def finish(self, state: State) -> FitResult:
        compare_as_before(self._callbacks)
        return super().finish(state)


class SeenByModel(_WithCallbacks):
    """Any callbacks: the model itself has the state while they run."""

    needs_all_variables = True

    def __init__(self, request: FitRequest, structure: Structure, state: State) -> None:
        super().__init__(request, structure, state, request.model)

    def _seen(self, look: Look, call: Callable[[], None]) -> Change:
        put_state(self._model, look())
        with self._drawing():
            call()
        return Change(state=state_of(self._model))


def kind_of_member(request: FitRequest) -> type[Member]:
    if not request.callbacks:
        return Member
    if stand_in_suffices(request.callbacks, request.model):
        return SeenByStandIn
    return SeenByModel


def _merged(logs: EpochLogs, held: EpochLogs | None, lane: int) -> Logs:
    return _with_held(logs.of(lane), held.of(lane) if held else None)


def _with_held(logs: dict[str, Any], held: dict[str, Any] | None) -> dict[str, Any]:
    """Training logs, and those of validation under ``val_`` names."""
    return {**logs, **{f"val_{name}": value for name, value in (held or {}).items()}}


def _result(history: keras.callbacks.History) -> FitResult:
    return FitResult(plain_history(history.history), list(history.epoch))
