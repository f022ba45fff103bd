"""The roofline and the energy of a layer, against numbers worked out by hand."""

import pytest

from qtoolkit.kernels.roofline import energy, linear_work, roof


def test_one_row_of_int8_moves_a_byte_for_each_multiply_add():
    work = linear_work(1, 4096, 4096)
    assert work.multiply_adds == 4096 * 4096 and work.nbytes == 4096 * 4096 + 2 * 4096
    assert work.intensity == pytest.approx(1, rel=1e-3)


def test_four_bits_double_and_a_batch_multiplies_the_intensity():
    one, batch, narrow = (linear_work(m, 4096, 4096, b).intensity for m, b in ((1, 8), (16, 8), (1, 4)))
    assert narrow == pytest.approx(2 * one, rel=2e-3) and batch == pytest.approx(16 * one, rel=1e-2)
    assert linear_work(1, 100, 50, 32, 32).nbytes == 4 * (5000 + 150)


def test_the_roof_bends_at_the_ridge():
    assert roof(4.99, 500, 100) == pytest.approx(499)
    assert roof(5.0, 500, 100) == roof(50.0, 500, 100) == 500


def test_energy_of_one_row_goes_to_memory():
    arithmetic, memory = energy(linear_work(1, 1024, 1024))
    assert arithmetic == pytest.approx(1024**2 * 0.3) and memory == pytest.approx((1024**2 + 2048) * 160)
    full, full_memory = energy(linear_work(1, 1024, 1024, 32, 32), "float32")
    assert full == pytest.approx(1024**2 * 4.6) and full_memory == pytest.approx(4 * memory)
    with pytest.raises(ValueError, match="int4"):
        energy(linear_work(1, 2, 3), "int4")
