"""``with amalthea.lockstep():``, the friendly face of the joblib backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import joblib

from ..engine import memory
from ..engine.forms import Engine
from ..engine.trainer import Trainer, chosen_trainer, current_trainer, training_with
from ..privates import chosen_joblib_backend
from .backend import LockstepBackend
from .options import Options

_around: ContextVar[LockstepBackend | None] = ContextVar("amalthea_lockstep", default=None)


def lockstep(
    form: str | None = None, max_memory: int | None = None
) -> AbstractContextManager[None]:
    """Train all fits inside the block together, whoever asks for them.

    Every scikit-learn search, validation, ensemble or other meta-estimator inside the block hands
    its fits to joblib, and so to this block: fits that arrive together train together, nested ones
    too. Results are those of the block without it, but for rounding: fits that train together may
    sum in another order. ``n_jobs`` is accepted, and bounds nothing. The searches of ``amalthea``
    need no such block; to give them options, put them into one.

    Parameters
    ----------
    form : str or None, default=None
        How to train: ``"stacked"``, ``"loop"``, ``"steps"``, or ``"keras"`` for Keras's own
        ``fit``, one at a time on the same batches. Fits that cannot be trained so are trained
        otherwise; ``form_`` of an estimator tells. ``None`` lets the engine choose.
    max_memory : int or None, default=None
        The most bytes that the process shall hold. As many fits are started together as have
        room, and always at least one. By default half of the memory that is free when the first
        fit waits may come on top of what the process holds then.

    Returns
    -------
    context manager
        To be entered once. Inside of another lockstep one without options joins that, and one
        with options answers its own fits; where a function that waits in the outer enters it, the
        memory of the outer counts.

    Raises
    ------
    InvalidParameter
        For another form, or a ``max_memory`` that is no positive integer.

    Notes
    -----
    The functions that joblib is given run on the thread of the caller, one at a time and in order,
    each with the caller's warnings filters, context variables and settings. While one waits for
    its fit others run, so a lock that is held around ``fit`` blocks them for ever, and an ``RLock``
    lets them in. When one fails or is interrupted, those that wait are ended there; their
    ``finally`` blocks run. A fit or prediction that is asked for from another thread, below a
    routine of SciPy or inside of a seeded block is answered at once and alone.

    Each function has the settings of NumPy, scikit-learn, joblib, Keras and JAX for itself. Blocks
    of other libraries that change a thread-local setting are not kept apart where they are open
    around a fit, nor ``jax.named_scope``. Compiled code of one's own, other than SciPy's, must not
    call back a function that asks for a fit if it keeps that function in a static or thread-local
    variable, as F2PY does.

    ``joblib.parallel_config(backend="lockstep")`` does the same with joblib's means, with the same
    options, for the fits that joblib is given.

    Global random generators are shared by all, and drawn from in the order in which the tasks
    come to it. Give estimators a ``random_state`` where the results must be repeatable.

    Examples
    --------
    >>> import amalthea
    >>> from sklearn.model_selection import cross_validate
    >>> with amalthea.lockstep():  # doctest: +SKIP
    ...     cross_validate(amalthea.KerasClassifier(create_model, epochs=50), X, y)
    """
    options = Options(form, max_memory)
    around = _around.get()
    if options != Options() or around is None:
        backend = LockstepBackend()
        backend.options = options  # its trainer is made the current one here, not by the backend
        return _inside(backend, options.trainer() or chosen_trainer() or Engine())
    if isinstance(chosen_joblib_backend(), LockstepBackend):
        return nullcontext()
    return _inside(around, current_trainer())


@contextmanager
def _inside(backend: LockstepBackend, trainer: Trainer) -> Iterator[None]:
    token = _around.set(backend)
    try:
        with (
            joblib.parallel_config(backend=backend),
            training_with(trainer),
            memory.quick_collections(),
        ):
            yield
    finally:
        _around.reset(token)
