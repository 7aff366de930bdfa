"""Two inputs in a grid search: each group of measurements has its own branch of the network.

`Inputs` carries several arrays as one X. scikit-learn splits it by rows, and the model gets a
dict with the names of its own inputs. AMALTHEA_QUICK=1 trains less.
"""

import os

from amalthea import GridSearchCV, Inputs, KerasClassifier
from keras import Input, Model, layers
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

QUICK = os.environ.get("AMALTHEA_QUICK") == "1"


def create_model(units=8, merge="concatenate"):
    """Ten averages and ten extreme values of a tumour's cells; the branches meet at the end."""
    mean = Input((10,), name="mean")
    worst = Input((10,), name="worst")
    branches = [
        layers.Dense(units, activation="relu")(layers.BatchNormalization(momentum=0.9)(part))
        for part in (mean, worst)
    ]
    together = layers.add(branches) if merge == "add" else layers.concatenate(branches)
    return Model([mean, worst], layers.Dense(1, activation="sigmoid")(together))


def main():
    tumours = load_breast_cancer()
    X = Inputs(mean=tumours.data[:, :10], worst=tumours.data[:, 20:])
    names = tumours.target_names[tumours.target]  # labels may be strings
    rows_train, rows_test = train_test_split(range(len(X)), stratify=names, random_state=0)

    net = KerasClassifier(
        create_model,
        optimizer="adam",
        optimizer__learning_rate=0.01,
        epochs=5 if QUICK else 20,
        random_state=0,
    )
    grid = {"merge": ["add", "concatenate"], "units": [16] if QUICK else [4, 16]}
    search = GridSearchCV(net, grid, cv=2).fit(X[rows_train], names[rows_train])

    print(f"X:                {X}")
    results = search.cv_results_
    for candidate, score in zip(results["params"], results["mean_test_score"], strict=True):
        print(f"Accuracy {score:.3f}    {candidate}")
    print(f"Best parameters:  {search.best_params_}")
    print(f"Test accuracy:    {search.score(X[rows_test], names[rows_test]):.3f}")
    print(f"First test rows:  {', '.join(search.predict(X[rows_test[:4]]))}")
    return search


if __name__ == "__main__":
    main()
