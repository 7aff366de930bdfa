"""What can go wrong, and which built-in or scikit-learn error each case also is.

    AmaltheaError
    ├── InvalidParameter        (ValueError)     a parameter has a value that cannot work
    │   ├── UnknownParameter                     no builder and no estimator knows the name
    │   └── DuplicateParameter                   one destination is given twice
    ├── InvalidModel            (ValueError)     what the builder returned cannot be trained here
    │   └── TargetMismatch                       the model's output or loss does not fit y
    ├── InvalidModelType        (TypeError)      the builder returned no Keras model
    ├── InvalidData             (ValueError)     X, y, weights or validation data cannot be used
    └── BuildError              (RuntimeError)   the builder raised; its own error is the cause

    AmaltheaWarning             (UserWarning)
    └── KerasFitWarning                          Keras's own fit trains, one at a time

Messages name the argument as the user wrote it, say what was expected and what came.
"""

from __future__ import annotations


class AmaltheaError(Exception):
    """Base of all errors that Amalthea raises on its own account."""


class InvalidParameter(AmaltheaError, ValueError):
    """A parameter has a value that cannot work."""


class UnknownParameter(InvalidParameter):
    """A parameter that neither the estimator nor the builder declares."""


class DuplicateParameter(InvalidParameter):
    """Two parameters give a value to the same argument."""


class InvalidModel(AmaltheaError, ValueError):
    """The model cannot be trained as it is: no loss, wrong input shape, ambiguous output."""


class TargetMismatch(InvalidModel):
    """The model's output or loss does not fit the target."""


class InvalidModelType(AmaltheaError, TypeError):
    """The builder returned something that is not a Keras model."""


class InvalidData(AmaltheaError, ValueError):
    """X, y, ``sample_weight`` or ``validation_data`` cannot be used."""


class BuildError(AmaltheaError, RuntimeError):
    """The builder raised. The original error is the ``__cause__``."""


class AmaltheaWarning(UserWarning):
    """Base of all warnings that Amalthea gives on its own account."""


class KerasFitWarning(AmaltheaWarning):
    """A model is trained by Keras's own ``fit``, one at a time; the message says why."""
