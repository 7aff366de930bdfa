"""Tune a small network on the iris data: first for one epoch, then long enough to learn.

A builder function, a grid, scikit-learn's grid search with three folds, and a test set that the
search never sees. One epoch is what many tutorials show. The printed scores tell why it says
nothing about the candidates, and what changes when the models are trained.

Run it with `make demo`. AMALTHEA_QUICK=1 makes the grid and the number of folds smaller.
"""

import os
import time

import numpy as np

# Amalthea comes before Keras: where nobody chose a Keras backend, it chooses JAX.
from amalthea import GridSearchCV, KerasClassifier
from keras import Input, Sequential
from keras.layers import Dense
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

QUICK = os.environ.get("AMALTHEA_QUICK") == "1"
GRID = {"units": [10] if QUICK else [5, 10, 15], "activation": ["relu", "sigmoid"]}
FOLDS = 2 if QUICK else 3


def create_model(units=10, activation="relu"):
    """The builder. Its parameters can stand in the grid without being named anywhere else."""
    model = Sequential([Input((4,)), Dense(units, activation=activation), Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main():
    iris = load_iris()
    X_train, X_test, y_train, y_test = train_test_split(
        iris.data, iris.target, test_size=0.2, random_state=42
    )
    n_fits = len(GRID["units"]) * len(GRID["activation"]) * FOLDS
    print(f"Iris: {len(X_train)} flowers to tune on, {len(X_test)} to test; 3 species.")
    print(f"Grid: units {GRID['units']} x activation {GRID['activation']}.")
    print(f"Each search: {n_fits} fits on {FOLDS} folds, then the best candidate on all rows.")

    def tune(title, **training):
        print(f"\n{title}", flush=True)
        started = time.perf_counter()
        # random_state makes every fit repeatable: initial weights and order of the batches.
        classifier = KerasClassifier(create_model, random_state=0, **training)
        search = GridSearchCV(classifier, GRID, cv=FOLDS).fit(X_train, y_train)
        seconds = time.perf_counter() - started
        print_candidates(search)
        print(f"  Best parameters:  {search.best_params_}")
        print(f"  Best score:       {search.best_score_:.3f}")
        print(f"  Test accuracy:    {search.score(X_test, y_test):.3f}")
        print(f"  Time:             {seconds:.1f} s")
        return search

    published = tune("As published: 1 epoch")
    steps = -(-(len(X_train) - len(X_train) // FOLDS) // 32)
    print(f"  One epoch is {steps} steps of the optimizer, and guessing scores 0.333. Next to")
    print(
        "  nothing has been learned: the ranking is noise, and another random_state gives another."
    )

    # The builder compiles with Adam at its usual learning rate of 0.001. That is slow for this
    # little data, and `optimizer__` reaches the optimizer from outside.
    trained = tune(
        "Trained: 100 epochs, learning rate 0.01", epochs=100, optimizer__learning_rate=0.01
    )
    print_margin(trained)
    return published, trained


def print_candidates(search):
    """Mean score of each candidate, and its lowest and highest fold."""
    print("  units  activation   score   folds")
    folds = fold_scores(search)
    for candidate, scores in zip(search.cv_results_["params"], folds, strict=True):
        print(
            f"  {candidate['units']:5d}  {candidate['activation']:10s}  {scores.mean():6.3f}   "
            f"{scores.min():.3f} to {scores.max():.3f}"
        )


def print_margin(search):
    """How many candidates are as good as the best, judged by how far its own folds lie apart."""
    folds = fold_scores(search)
    spread = np.ptp(folds[search.best_index_])
    close = (search.best_score_ - folds.mean(axis=1) <= spread).sum()
    print(
        f"  {close} of {len(folds)} candidates lie within {spread:.3f} of the best, whose own folds"
    )
    print("  differ by as much: so few flowers cannot tell these apart.")


def fold_scores(search):
    """An array of shape (candidates, folds)."""
    results = search.cv_results_
    return np.stack([results[f"split{k}_test_score"] for k in range(FOLDS)], axis=1)


if __name__ == "__main__":
    main()
