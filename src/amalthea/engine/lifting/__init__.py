"""One program for models that differ in numbers, sizes and parts: see :mod:`.weaving`."""
