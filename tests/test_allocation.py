import subprocess
import sys

import pytest

from ignite_kd import allocation

COUNT = """
import resource, sys
from ignite_kd import allocation
import torch
if sys.argv[1] == "kept":
    allocation.keep_freed_memory()
blocks = lambda: [torch.ones(2**24) for _ in range(4)]  # of 64 MiB
for _ in range(5):
    blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    blocks()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(allocation.platform.libc_ver()[0] != "glibc", reason="a switch of glibc")
def test_memory_that_was_freed_is_used_again_without_new_pages():
    def faults(how):
        return int(
            subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True).stdout
        )

    assert faults("kept") < faults("given back") / 4


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocation.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: pytest.fail("nothing should be asked of it"))
    with allocation.usual_allocation():
        allocation.keep_freed_memory()
