"""Amalthea beside Keras's own `fit`, one at a time, in one run: seconds, medians and ratios.

    python bench/against_keras.py                      all workloads
    python bench/against_keras.py tutorial images      some of them

Every measurement runs in a process of its own, without a compilation cache, so compilation is
always included and imports never are. Amalthea and Keras alternate. `many` and `table` have no peer
here: they show how cost and memory grow.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

REPEATS = 3
SOLVERS = ("amalthea", "keras")


def main(names: list[str]) -> None:
    unknown = set(names) - set(ALONE) - set(COMPARED)
    if unknown:
        known = ", ".join([*COMPARED, *ALONE])
        sys.exit(f"Unknown workloads {sorted(unknown)}; there are: {known}.")
    for name in [name for name in COMPARED if not names or name in names]:
        runs: dict[str, list[float]] = {solver: [] for solver in SOLVERS}
        for _ in range(REPEATS):
            for solver in SOLVERS:
                runs[solver].append(measured(name, solver)["seconds"])
        medians = {solver: statistics.median(times) for solver, times in runs.items()}
        ratios = [keras / ours for ours, keras in zip(*runs.values(), strict=True)]
        print(
            f"{name:10s} amalthea {medians['amalthea']:8.2f} s   keras {medians['keras']:8.2f} s   "
            f"{statistics.median(ratios):6.1f} times faster "
            f"({min(ratios):.1f} to {max(ratios):.1f} in {REPEATS} runs)",
            flush=True,
        )
    for name in [name for name in ALONE if not names or name in names]:
        print(f"{name:10s} {json.dumps(measured(name, 'amalthea'))}", flush=True)


def measured(name: str, solver: str) -> dict[str, Any]:
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    out = subprocess.run(
        [sys.executable, __file__, "--measure", name, solver],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if out.returncode:
        sys.exit(out.stderr)
    result: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    return result


# --- the workloads -------------------------------------------------------------------------------


def iris(test_size: float = 0.2) -> Any:
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    X, y = load_iris(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, test_size=test_size, random_state=42)
    return X.astype("float32"), y


def mlp(
    units: int = 5, activation: str = "relu", learning_rate: float = 0.001, dropout: float = 0.0
) -> Any:
    import keras

    layers = [keras.layers.Input((4,)), keras.layers.Dense(units, activation=activation)]
    if dropout:
        layers.append(keras.layers.Dropout(dropout))
    model = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")])
    return compiled(model, learning_rate)


def compiled(model: Any, learning_rate: float) -> Any:
    import keras

    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def cnn(dropout: float = 0.0, learning_rate: float = 0.001) -> Any:
    import keras

    L = keras.layers
    layers = [
        *(L.Input((8, 8, 1)), L.Conv2D(32, 3, activation="relu", padding="same")),
        *(L.MaxPooling2D(), L.Conv2D(64, 3, activation="relu", padding="same")),
        *(L.MaxPooling2D(), L.Flatten(), L.Dropout(dropout), L.Dense(10, activation="softmax")),
    ]
    return compiled(keras.Sequential(layers), learning_rate)


def wide_mlp(learning_rate: float = 0.001, weight_decay: float = 0.0) -> Any:
    import keras

    L = keras.layers
    hidden = [L.Dense(512, activation="relu") for _ in range(2)]
    model = keras.Sequential([L.Input((100,)), *hidden, L.Dense(2, activation="softmax")])
    model.compile(
        optimizer=keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def gru(units: int = 16, dropout: float = 0.0) -> Any:
    import keras

    L = keras.layers
    layers = [L.Input((32, 4)), L.GRU(units, dropout=dropout), L.Dense(2, activation="softmax")]
    return compiled(keras.Sequential(layers), 0.001)


def search(
    solver: str,
    build: Any,
    grid: Any,
    data: Any,
    scaled: bool = False,
    share: float = 1,
    **fit: Any,
) -> float:
    """Seconds for all candidates on three folds; ``share`` of the fits for Keras, scaled up."""
    import numpy as np
    from sklearn.model_selection import ParameterGrid, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = data
    if solver == "amalthea":
        import amalthea
        import amalthea.rendezvous.lockstep  # noqa: F401  imports are not measured

        estimator = amalthea.KerasClassifier(build, random_state=0, **fit)
        if scaled:
            estimator = make_pipeline(StandardScaler(), estimator)
            grid = {f"kerasclassifier__{name}": values for name, values in grid.items()}
        searching = amalthea.GridSearchCV(estimator, grid, cv=3, refit=False)
        started = time.perf_counter()
        searching.fit(X, y)
        return time.perf_counter() - started

    import keras

    fits = [
        (candidate, rows)
        for candidate in ParameterGrid(grid)
        for rows in StratifiedKFold(3).split(X, y)
    ]
    some = fits[:: round(1 / share)]
    started = time.perf_counter()
    for candidate, (train, test) in some:
        train_x, test_x = X[train], X[test]
        if scaled:
            scaler = StandardScaler().fit(train_x)
            train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)
        keras.utils.set_random_seed(0)
        model = build(**candidate)
        model.fit(train_x, y[train], verbose=0, **fit)
        np.mean(model.predict(test_x, verbose=0).argmax(axis=1) == y[test])
    return (time.perf_counter() - started) * len(fits) / len(some)


def tutorial(solver: str) -> dict[str, Any]:
    grid = {"units": [5, 10, 15], "activation": ["relu", "sigmoid"]}
    return {"seconds": search(solver, mlp, grid, iris(), epochs=100)}


def pipeline(solver: str) -> dict[str, Any]:
    import numpy as np

    grid = {"units": [5, 10], "learning_rate": [float(r) for r in np.logspace(-4, -1, 50)]}
    return {"seconds": search(solver, mlp, grid, iris(), scaled=True, share=0.05, epochs=100)}


def images(solver: str) -> dict[str, Any]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    data = (X / 16).reshape(-1, 8, 8, 1).astype("float32"), y
    grid = {"dropout": [0.0, 0.25, 0.5], "learning_rate": [1e-3, 3e-3]}
    return {"seconds": search(solver, cnn, grid, data, epochs=5, batch_size=128)}


def wide(solver: str) -> dict[str, Any]:
    from sklearn.datasets import make_classification

    X, y = make_classification(20000, 100, n_informative=20, random_state=0)
    grid = {"learning_rate": [1e-4, 1e-3, 1e-2], "weight_decay": [0.0, 1e-4, 1e-2]}
    data = X.astype("float32"), y
    return {"seconds": search(solver, wide_mlp, grid, data, epochs=3, batch_size=256)}


def sequence(solver: str) -> dict[str, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 32, 4)).astype("float32")
    data = X, (X.mean(axis=(1, 2)) > 0).astype("int64")
    grid = {"units": [16, 32], "dropout": [0.0, 0.2]}
    return {"seconds": search(solver, gru, grid, data, epochs=5)}


def single(solver: str) -> dict[str, Any]:
    """One fit of the tutorial's model, after a first one in the process."""
    import keras

    X, y = iris()

    def fit() -> Any:
        if solver == "amalthea":
            import amalthea

            return amalthea.KerasClassifier(mlp, epochs=100, random_state=0).fit(X, y)
        keras.utils.set_random_seed(0)
        return mlp().fit(X, y, epochs=100, verbose=0)

    fit()
    started = time.perf_counter()
    fit()
    return {"seconds": time.perf_counter() - started}


def many(solver: str) -> dict[str, Any]:
    """10,000 fits in one process: is the last one as cheap as the first, and does memory grow?"""

    import amalthea

    X, y = iris(test_size=0.01)
    grid = {
        "learning_rate": [1e-4 * 1.3**n for n in range(20)],
        "dropout": [0.05 * n for n in range(10)],
        "units": list(range(3, 13)),
    }
    ended: list[float] = []

    class Noting(amalthea.KerasClassifier):
        def score(self, *arguments: Any, **named: Any) -> float:
            ended.append(time.perf_counter())
            return super().score(*arguments, **named)

    bound = 4_000_000_000
    amalthea.KerasClassifier(mlp, epochs=1).fit(X, y).predict(X)
    started = time.perf_counter()
    with amalthea.lockstep(max_memory=bound):
        amalthea.GridSearchCV(Noting(mlp, epochs=20, random_state=0), grid, cv=5, refit=False).fit(
            X, y
        )
    seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 1),
        "fits": len(ended),
        "ms per fit, first 2,000": round((ended[1999] - started) / 2, 2),
        "ms per fit, last 2,000": round((ended[-1] - ended[-2001]) / 2, 2),
        "peak MB": peak_mb(),
        "bound MB": bound // 10**6,
    }


def table(solver: str) -> dict[str, Any]:
    """60 fits over a table of 500 MB, within 3 GB for the whole process."""
    import numpy as np

    import amalthea

    rng = np.random.default_rng(0)
    X = rng.normal(size=(1_250_000, 100)).astype("float32")
    y = (X[:, 0] > 0).astype("int64")

    def build(units: int = 4, learning_rate: float = 0.01) -> Any:
        import keras

        layers = [keras.layers.Input((100,)), keras.layers.Dense(units, activation="relu")]
        model = keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax")])
        return compiled(model, learning_rate)

    bound = 3_000_000_000
    started = time.perf_counter()
    with amalthea.lockstep(max_memory=bound):
        amalthea.GridSearchCV(
            amalthea.KerasClassifier(build, epochs=1, batch_size=4096, random_state=0),
            {"units": [4, 8], "learning_rate": [10.0**-n for n in range(1, 11)]},
            cv=3,
            refit=False,
        ).fit(X, y)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "fits": 60,
        "table MB": X.nbytes // 10**6,
        "peak MB": peak_mb(),
        "bound MB": bound // 10**6,
    }


def peak_mb() -> int:
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)


COMPARED: dict[str, Callable[[str], dict[str, Any]]] = {
    function.__name__: function for function in (tutorial, pipeline, images, wide, sequence, single)
}
ALONE: dict[str, Callable[[str], dict[str, Any]]] = {
    function.__name__: function for function in (many, table)
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        import amalthea  # noqa: F401  chooses the backend before Keras is imported

        print(json.dumps({**COMPARED, **ALONE}[sys.argv[2]](sys.argv[3])))
    else:
        main(sys.argv[1:])
