"""Images as bytes: rounded, cut off, and told apart by their checksum."""

from __future__ import annotations

import numpy as np

from shooting.study.data.pixels import sha256, to_bytes


def test_grey_values_are_rounded_and_cut_off():
    # 0.1 * 255 = 25.5 rounds to the even 26
    found = to_bytes(np.array([-0.2, 0.0, 0.1, 1.0, 1.7]))
    assert found.dtype == np.uint8
    assert found.tolist() == [0, 0, 26, 255, 255]


def test_last_bits_of_float64_leave_no_trace_in_bytes():
    grey = np.linspace(0, 1, 256)
    assert (to_bytes(np.nextafter(grey, 2)) == to_bytes(grey)).all()
    assert (to_bytes(grey + 1 / 255) != to_bytes(grey)).any()  # the control


def test_a_checksum_is_of_the_values_in_their_order():
    images = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert sha256(np.asfortranarray(images)) == sha256(images)  # however they lie in memory
    assert sha256(images.T) != sha256(images)
    changed = images.copy()
    changed[2, 3] ^= 1
    assert sha256(changed) != sha256(images)
