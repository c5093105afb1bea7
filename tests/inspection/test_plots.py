"""Images of any number of channels in figures."""

import io
import struct

import numpy as np
import pytest

from lab10.inspection.plots import ImageRow, plot_image_rows, plot_reconstructions

RANDOM = np.random.default_rng(0)


def drawn(rows, shape):
    """What each row draws, [height, columns, …], with one column of pixels between images."""
    figure = plot_image_rows(rows, shape, inches=1.0, row_gap=0.1)
    return [np.ma.getdata(axes.images[0].get_array()) for axes in figure.axes]


def test_one_channel_is_drawn_by_a_colormap():
    images = RANDOM.random((2, 6))
    (strip,) = drawn([ImageRow("input", images)], (2, 3, 1))
    assert strip.shape == (2, 7)
    np.testing.assert_array_equal(strip[:, :3], images[0].reshape(2, 3))
    assert np.isnan(strip[:, 3]).all()


@pytest.mark.parametrize("channels", [3, 4, 5])
def test_the_first_three_channels_are_red_green_and_blue(channels):
    images = RANDOM.random((2, 6 * channels))
    (strip,) = drawn([ImageRow("input", images)], (2, 3, channels))
    image = images[0].reshape(2, 3, channels)
    np.testing.assert_array_equal(strip[:, :3, :3], image[..., :3])
    np.testing.assert_array_equal(strip[:, :3, 3], image[..., 3] if channels == 4 else np.ones((2, 3)))
    assert np.all(strip[:, 3] == 0), "transparent between images"


def test_gray_and_alpha_are_drawn_as_such():
    images = RANDOM.random((1, 12))
    (strip,) = drawn([ImageRow("input", images)], (2, 3, 2))
    image = images[0].reshape(2, 3, 2)
    for channel in range(3):
        np.testing.assert_array_equal(strip[..., channel], image[..., 0])
    np.testing.assert_array_equal(strip[..., 3], image[..., 1])


def test_color_differences_are_drawn_around_gray_and_opaque():
    values = np.array([[-1, 0, 1, 0.5]])
    (strip,) = drawn([ImageRow("difference", values, signed=True)], (1, 1, 4))
    np.testing.assert_array_equal(strip, [[[0, 0.5, 1, 1]]])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_reconstructions_are_drawn_below_their_inputs(channels):
    inputs = RANDOM.random((3, 4 * channels))
    figure = plot_reconstructions(inputs, {"reconstruction": inputs * 3}, (2, 2, channels))
    assert [axes.get_ylabel() for axes in figure.axes] == ["input", "reconstruction", "difference"]
    for axes in figure.axes:
        values = np.ma.getdata(axes.images[0].get_array())
        assert np.nanmin(values) >= (-1 if channels == 1 else 0)
        assert np.nanmax(values) <= 1


@pytest.mark.parametrize(("height", "width"), [(2000, 1), (1, 2000)])
def test_long_images_are_drawn_shorter_so_that_the_figure_can_be_written(height, width):
    inputs = RANDOM.random((2, height * width))
    file = io.BytesIO()
    plot_reconstructions(inputs, {"reconstruction": inputs}, (height, width, 1)).savefig(file)
    dots = struct.unpack(">II", file.getvalue()[16:24])
    assert max(dots) < 5000


def test_pixels_of_other_images_are_square():
    figure = plot_reconstructions(RANDOM.random((3, 60)), {}, (10, 6, 1))
    (axes,) = figure.axes
    box = axes.get_window_extent()
    rows, columns = axes.images[0].get_array().shape
    assert box.height / rows == pytest.approx(box.width / columns)
