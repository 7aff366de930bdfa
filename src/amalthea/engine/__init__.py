"""Training and prediction: requests in, results out. Knows Keras, and nothing of scikit-learn."""
