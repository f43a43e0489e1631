"""Settings that must be made before torch is loaded: tests run beside encoders, and OpenMP's spinning would starve both."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("patient", deadline=None)  # how long an example takes depends on what else the machine does
settings.load_profile("patient")
