"""Tests marked needs_cuda are skipped without a GPU, and fail without one where VSR_REQUIRE_CUDA=1 says that there is one."""

from __future__ import annotations

import os

import pytest
import torch


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("needs_cuda") and not torch.cuda.is_available():
        if os.environ.get("VSR_REQUIRE_CUDA") == "1":
            pytest.fail("VSR_REQUIRE_CUDA=1, and torch finds no CUDA device")
        pytest.skip("needs a CUDA device")
