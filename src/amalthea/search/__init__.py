"""scikit-learn's searches, for Keras models."""
