"""Regression in a pipeline: how far a disease has come a year later, from ten measurements.

The scaler is part of what is cross-validated, so no fold sees the mean of its own test rows, and
the grid reaches through the pipeline to the builder (`net__units`) and to the optimizer
(`net__optimizer__learning_rate`). AMALTHEA_QUICK=1 trains less.
"""

import os

from amalthea import GridSearchCV, KerasRegressor
from keras import Sequential
from keras.layers import Dense
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

QUICK = os.environ.get("AMALTHEA_QUICK") == "1"


def create_model(units=32):
    """Not compiled: the estimator does it, with the mean squared error and its own optimizer."""
    return Sequential([Dense(units, activation="relu"), Dense(1)])


def main():
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

    net = KerasRegressor(create_model, optimizer="adam", epochs=40, random_state=0)
    pipeline = Pipeline([("scale", StandardScaler()), ("net", net)])
    grid = {
        "net__units": [32] if QUICK else [16, 64],
        "net__optimizer__learning_rate": [0.01, 0.03],
    }
    search = GridSearchCV(pipeline, grid, cv=2 if QUICK else 3).fit(X_train, y_train)

    results = search.cv_results_
    print("R2, mean of the folds (1 is perfect, 0 is as good as the mean of y)")
    for candidate, score in zip(results["params"], results["mean_test_score"], strict=True):
        units, rate = candidate["net__units"], candidate["net__optimizer__learning_rate"]
        print(f"  units {units:3d}  learning rate {rate:<5g}  {score:7.3f}")
    print(f"Best parameters:    {search.best_params_}")
    print(f"R2 on test rows:    {search.score(X_test, y_test):.3f}")
    # A line through the same data: what a network has to beat.
    print(
        f"Linear regression:  {LinearRegression().fit(X_train, y_train).score(X_test, y_test):.3f}"
    )
    return search


if __name__ == "__main__":
    main()
