"""Several metrics in one search, one of them our own, and the best candidate by that one.

A missed cancer is worse than a false alarm. The search reports accuracy, the area under the ROC
curve, log loss and our cost of errors, and refits the candidate with the lowest cost.
AMALTHEA_QUICK=1 trains less.
"""

import os

import numpy as np
from amalthea import GridSearchCV, KerasClassifier
from keras import Sequential
from keras.layers import Dense
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import make_scorer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

QUICK = os.environ.get("AMALTHEA_QUICK") == "1"
MISSED, FALSE_ALARM = 20.0, 1.0  # what an error costs


def create_model(units=8):
    return Sequential([Dense(units, activation="relu"), Dense(1, activation="sigmoid")])


def cost(y_true, y_pred):
    """Mean cost of a row."""
    missed = (y_true == "malignant") & (y_pred == "benign")
    alarm = (y_true == "benign") & (y_pred == "malignant")
    return np.mean(MISSED * missed + FALSE_ALARM * alarm)


def main():
    tumours = load_breast_cancer()
    names = tumours.target_names[tumours.target]
    X_train, X_test, y_train, y_test = train_test_split(
        tumours.data, names, stratify=names, random_state=0
    )

    net = KerasClassifier(create_model, optimizer="adam", epochs=5 if QUICK else 20, random_state=0)
    pipeline = make_pipeline(StandardScaler(), net)
    # Weights of the classes in the loss. They keep the labels as they are written.
    grid = {"kerasclassifier__class_weight": [None, "balanced", {"malignant": 20, "benign": 1}]}
    scoring = {
        "accuracy": "accuracy",
        "roc_auc": "roc_auc",
        "log_loss": "neg_log_loss",
        "cost": make_scorer(cost, greater_is_better=False),  # scorers are: greater is better
    }
    search = GridSearchCV(pipeline, grid, scoring=scoring, refit="cost", cv=2 if QUICK else 3)
    search.fit(X_train, y_train)

    results = search.cv_results_
    print("accuracy  roc_auc  log_loss    cost   class_weight")
    for i, candidate in enumerate(results["params"]):
        accuracy, auc, log_loss, paid = (results[f"mean_test_{name}"][i] for name in scoring)
        (weights,) = candidate.values()
        print(f"{accuracy:8.3f}  {auc:7.3f}  {-log_loss:8.3f}  {-paid:6.3f}   {weights}")
    print(f"Chosen by cost:     {search.best_params_}")
    print(f"Cost on test rows:  {-search.score(X_test, y_test):.3f}")
    return search


if __name__ == "__main__":
    main()
