"""The pictures of digits show the right pixels in the right places; tested by their data, not by how they look."""

import pytest
import torch

from qtoolkit.lab import pictures


def _image(figure):
    return torch.from_numpy(figure.axes[0].images[0].get_array().data).float()


def _colors(*rgb):
    return torch.tensor(rgb).float()


def test_the_mosaic_puts_each_digit_in_its_place_and_paints_the_marked():
    images = torch.zeros(6, 28, 28, dtype=torch.uint8)
    images[1] = 255
    marked = torch.tensor([False, False, False, False, True, False])
    image = _image(pictures.mosaic(images, marked, columns=3, side=7))
    cells = {(row, column): image[7 * row + 3, 7 * column + 3] for row in range(2) for column in range(3)}
    torch.testing.assert_close(cells[0, 0], _colors(pictures.NIGHT)[0])
    torch.testing.assert_close(cells[0, 1], _colors(pictures.INK)[0])
    torch.testing.assert_close(cells[1, 1], _colors(pictures.ALARM)[0])


def test_an_unfinished_last_row_stays_black():
    image = _image(pictures.mosaic(torch.full((4, 28, 28), 255, dtype=torch.uint8), torch.zeros(4, dtype=torch.bool), columns=3, side=4))
    assert image.shape == (8, 12, 3)
    assert image[4:, 4:].abs().max() == 0 and image[4:, :4].min() > 0


def test_the_gallery_writes_each_caption_below_its_digit():
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    images[2] = 255
    axes = pictures.gallery(images, [7, 8, 9], columns=2).axes
    assert [each.get_xlabel() for each in axes] == ["7", "8", "9"]
    assert [each.images[0].get_array().max() > 0.9 for each in axes] == [False, False, True]


def test_the_table_of_wrong_answers_leaves_out_the_right_ones():
    labels, answers = torch.tensor([4, 4, 4, 2, 0]), torch.tensor([9, 9, 4, 7, 0])
    counts = _image(pictures.confusion(labels, answers))
    assert counts[4, 9] == 2 and counts[2, 7] == 1 and counts.sum() == 3


def test_neurons_and_tables_are_orange_above_zero_and_blue_below():
    weights = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    for image in (_image(pictures.neurons(weights.unsqueeze(0))), _image(pictures.network([weights]))[..., :3]):
        orange, blue, dark = image[0, 0], image[0, 1], image[1, 0]
        assert orange[0] > orange[2] and blue[2] > blue[0]
        torch.testing.assert_close(dark, _colors(pictures.NIGHT)[0])


def test_tables_keep_their_shapes_side_by_side():
    image = _image(pictures.network([torch.randn(6, 5), torch.randn(2, 3)], gap=4))
    assert image.shape == (6, 5 + 4 + 3, 4)
    assert (image[..., 3] > 0).sum() == 6 * 5 + 2 * 3


@pytest.mark.parametrize("call", [
    lambda: pictures.mosaic(torch.zeros(2, 28, 28), torch.zeros(3, dtype=torch.bool)),
    lambda: pictures.gallery(torch.zeros(0, 28, 28), []),
    lambda: pictures.confusion(torch.zeros(2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)),
    lambda: pictures.confusion(torch.tensor([10]), torch.tensor([0])),
    lambda: pictures.neurons(torch.full((1, 2, 2), float("nan"))),
    lambda: pictures.network([]),
    lambda: pictures.network([torch.zeros(3)]),
])
def test_data_that_do_not_fit_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
