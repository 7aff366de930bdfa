"""The reference: Keras's own ``fit`` and ``predict``, one request at a time.

It is slow and obvious. Whatever else trains a request has to give what this gives.
"""

from __future__ import annotations

from .batches import EpochBatches, EpochClock, PaddedBatches, as_they_stand, shuffled
from .requests import FitRequest, FitResult, PredictRequest, plain_history
from .rows import Arrays, Rows
from .seeding import resumed


class ReferenceTrainer:
    """Answers each request at once, with Keras's own training loop."""

    def fit(self, request: FitRequest) -> FitResult:
        n_rows = len(request.training)
        order = shuffled(n_rows, request.seed) if request.shuffle else as_they_stand(n_rows)
        batches = EpochBatches(request.training, request.batch_size, order)
        held = _validation_batches(request.validation, request.validation_batch_size)
        with resumed(request.generators):
            history = request.model.fit(
                batches,
                epochs=request.epochs,
                initial_epoch=request.initial_epoch,
                callbacks=[EpochClock(batches), *request.callbacks],
                validation_data=held,
                validation_freq=request.validation_freq,
                shuffle=False,
                verbose=request.verbose,
            )
        return FitResult(plain_history(history.history), list(history.epoch), form="keras")

    def predict(self, request: PredictRequest) -> Arrays:
        batches = PaddedBatches(request.x, request.batch_size)
        outputs = request.model.predict(
            batches, callbacks=list(request.callbacks), verbose=request.verbose
        )
        return batches.without_padding(outputs)


def _validation_batches(rows: Rows | None, batch_size: int) -> EpochBatches | None:
    return None if rows is None else EpochBatches(rows, batch_size, as_they_stand(len(rows)))
