"""Images: a small convolutional network on 8 x 8 pictures of digits, with early stopping.

X has four dimensions, (rows, 8, 8, 1), and goes through scikit-learn's search as it is. Each fit
keeps back a tenth of its own training rows, stratified, to see when to stop: the rows that a fold
is scored on stay unseen. AMALTHEA_QUICK=1 takes fewer pictures and epochs.
"""

import os

from amalthea import GridSearchCV, KerasClassifier
from keras import Sequential
from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

QUICK = os.environ.get("AMALTHEA_QUICK") == "1"
N_PICTURES, EPOCHS = (400, 4) if QUICK else (1797, 30)


def create_model(meta, filters=8, kernel=3):
    """`meta` tells the builder about the data, so that it need not know the number of classes."""
    return Sequential(
        [
            Conv2D(filters, kernel, padding="same", activation="relu"),
            MaxPooling2D(),
            Flatten(),
            Dense(meta["n_classes_"], activation="softmax"),
        ]
    )


def main():
    digits = load_digits()
    X = digits.images[:N_PICTURES, :, :, None] / 16  # one channel, values from 0 to 1
    X_train, X_test, y_train, y_test = train_test_split(
        X, digits.target[:N_PICTURES], stratify=digits.target[:N_PICTURES], random_state=0
    )

    net = KerasClassifier(
        create_model,
        optimizer="adam",
        optimizer__learning_rate=0.005,
        batch_size=64,
        epochs=EPOCHS,
        early_stopping=True,
        patience=3,
        random_state=0,
    )
    search = GridSearchCV(net, {"filters": [4, 16]}, cv=2).fit(X_train, y_train)

    results = search.cv_results_
    print(f"Pictures:         {X_train.shape[0]} to tune on, {X_test.shape[0]} to test")
    for candidate, score in zip(results["params"], results["mean_test_score"], strict=True):
        print(f"{candidate['filters']:3d} filters:      {score:.3f}")
    best = search.best_estimator_
    print(f"Best network:     epoch {best.best_epoch_ + 1} of {best.n_epochs_} that were trained")
    print(f"Test accuracy:    {search.score(X_test, y_test):.3f}")
    return search


if __name__ == "__main__":
    main()
