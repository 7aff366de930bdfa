"""Tasks that train together: the joblib backend ``"lockstep"``, registered on import."""

from joblib import register_parallel_backend

from .backend import LockstepBackend

register_parallel_backend("lockstep", LockstepBackend)
