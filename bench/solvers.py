"""Who takes part: where each runs, what it is given, and what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass, field

_MLP = ("tutorial1", "tutorial", "pipeline")
_DENSE = (*_MLP, "tuner", "wide")
_MOST = (*_DENSE, "images", "sequence", "regression")


@dataclass(frozen=True)
class Solver:
    """One way to do the work.

    ``module`` is a file of ``peers``, with ``:n`` for ``n_jobs``; ``slowness`` is about how
    slow a fit is beside Keras's own, from which the part is chosen that is measured; 0 does all.
    """

    title: str
    module: str
    environment: str
    workloads: tuple[str, ...]
    given: str
    cannot: str
    slowness: float = 0.0
    backend: str = "jax"
    in_quick: bool = False
    variables: dict[str, str] = field(default_factory=dict)


AMALTHEA = Solver(
    title="Amalthea",
    module="with_amalthea",
    environment="amalthea",
    workloads=(*_MOST, "brownlee", "many"),
    given="`amalthea.GridSearchCV` over `KerasClassifier` or `KerasRegressor`, an integer seed.",
    cannot="nothing here.",
    in_quick=True,
)
LIMIT = Solver(
    title="hand-written JAX",
    module="with_jax",
    environment="amalthea",
    workloads=(*_MLP, "many"),
    given="one program written for this one grid: stacked, padded, compiled at XLA's lowest level.",
    cannot="anything else: other layers, callbacks, scoring by name, a model in the end.",
    in_quick=True,
)
PEERS = (
    Solver(
        title="Keras, one at a time",
        module="by_hand",
        environment="amalthea",
        workloads=(*_MOST, "brownlee"),
        given="a loop that builds, fits and predicts, on JAX; nothing else around it.",
        cannot="share anything between fits.",
        slowness=1.0,
        in_quick=True,
    ),
    Solver(
        title="keras.wrappers",
        module="with_keras_wrappers",
        environment="keras",
        workloads=_MOST,
        given="GridSearchCV, on JAX; `epochs` and `batch_size` through the search's own `fit`, "
        "since its `fit_kwargs` are lost when it is cloned.",
        cannot="tune `epochs` or `batch_size`, or a model with one sigmoid output (brownlee).",
        slowness=1.2,
    ),
    Solver(
        title="SciKeras",
        module="with_scikeras",
        environment="scikeras",
        workloads=_MOST,
        given="GridSearchCV, on TensorFlow; its parameters declared, the folds given, since "
        "scikit-learn does not see it as a classifier.",
        cannot="be without TensorFlow.",
        slowness=3.0,
        backend="tensorflow",
        in_quick=True,
    ),
    Solver(
        title="SciKeras, n_jobs=2",
        module="with_scikeras:2",
        environment="scikeras",
        workloads=("tutorial", "pipeline"),
        given="the same in two processes.",
        cannot="start a process without importing TensorFlow again.",
        slowness=3.0,
        backend="tensorflow",
    ),
    Solver(
        title="KerasTuner",
        module="with_keras_tuner",
        environment="keras-tuner",
        workloads=(*_MOST, "brownlee"),
        given="GridSearch over the same candidates, on JAX, with the folds in `run_trial`.",
        cannot="cross-validate by itself.",
        slowness=1.0,
    ),
    Solver(
        title="Optuna",
        module="with_optuna",
        environment="optuna",
        workloads=(*_MOST, "brownlee"),
        given="GridSampler over the same candidates, in memory, on JAX, with the folds in the "
        "objective.",
        cannot="cross-validate by itself.",
        slowness=1.0,
    ),
    Solver(
        title="skorch",
        module="with_skorch",
        environment="skorch",
        workloads=_DENSE,
        given="GridSearchCV, on PyTorch for CPUs; the same layers, initial values and optimizer, "
        "written as a module.",
        cannot="take a Keras model. The other workloads were not written for it.",
        slowness=0.5,
        backend="torch",
    ),
    Solver(
        title="MLPClassifier",
        module="with_mlp",
        environment="scikit-learn",
        workloads=_MLP,
        given="GridSearchCV; no penalty, no early stop.",
        cannot="dropout, several kinds of layers, weight decay as in AdamW, other optimizers.",
        backend="",
        in_quick=True,
    ),
    Solver(
        title="MLPClassifier, n_jobs=2",
        module="with_mlp:2",
        environment="scikit-learn",
        workloads=_MLP,
        given="the same in two processes.",
        cannot="as above.",
        backend="",
        in_quick=True,
    ),
)
EVERYONE = (AMALTHEA, *PEERS, LIMIT)
