"""Settings that must be made before torch is loaded: tests run beside encoders, and OpenMP's spinning would starve both."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
