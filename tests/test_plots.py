import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from eifn import plots


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def test_a_matrix_shows_its_numbers_and_shares_its_scale(axes):
    plots.matrix(axes, [[0, 2], [1, 0.5], [0, 0]], top=4)
    assert [text.get_text() for text in axes.texts] == ["0", "2", "1", "0.5", "0", "0"]
    image = axes.images[0]
    assert mpl.colors.to_hex(image.cmap(image.norm(4))) == plots.FUSION.lower()
    assert mpl.colors.to_hex(image.cmap(image.norm(0))) == "#ffffff"


@pytest.mark.parametrize("values", [[1, 2], [[-1, 0]], [[0, 5]]])
def test_a_matrix_that_the_colours_cannot_show(axes, values):
    with pytest.raises(ValueError, match="from 0 to 4"):
        plots.matrix(axes, values, top=4)


def test_singular_values_are_relative_to_the_first(axes):
    plots.singular_values(
        axes, {"a": [10, 5, 1, 0.1], "b": [2, 1]}, colors=[plots.FUSION, plots.GREY], show=3
    )
    first, second = axes.lines
    np.testing.assert_allclose(first.get_ydata(), [1, 0.5, 0.1])
    np.testing.assert_allclose(second.get_ydata(), [1, 0.5])
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()


def test_windows_may_reach_beyond_the_face(axes):
    boxes = {"here": (-90, -90, 122, 122), "there": (-58, -58, 154, 154)}
    plots.windows(axes, np.zeros((64, 64, 3)), boxes)
    assert axes.images[0].get_extent() == [0, 64, 64, 0]
    for line, box in zip(axes.lines, boxes.values(), strict=True):
        x, y = line.get_data()
        assert (min(x), min(y), max(x), max(y)) == box
    here, there = axes.texts
    assert (here.get_text(), here.xy, here.get_ha(), here.get_va()) == ("here", (-90, -90), "left", "top")
    assert (there.get_text(), there.xy, there.get_ha(), there.get_va()) == (
        "there",
        (154, 154),
        "right",
        "bottom",
    )
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
    bottom, top = axes.get_ylim()
    assert top < -90
    assert bottom > 154  # nothing is cut off, and y grows downwards


def test_influence_unveils_half_and_sums_quarters(axes):
    heat = np.zeros((4, 4))
    heat[0, 0], heat[0, 3], heat[3, 3] = 4, 3, 1
    plots.influence(axes, np.zeros((64, 64, 3)), heat, title="t")
    veiled = axes.images[1].get_array()[..., 3] > 0
    assert np.argwhere(~veiled).tolist() == [[0, 0]]  # which holds half of the 8
    assert [text.get_text() for text in axes.texts] == ["50%", "38%", "0%", "12%"]


@pytest.mark.parametrize("heat", [np.ones((3, 4)), -np.eye(4), np.zeros((4, 4)), np.ones(4)])
def test_influence_that_cannot_be_shown(axes, heat):
    with pytest.raises(ValueError, match="even number"):
        plots.influence(axes, np.zeros((64, 64, 3)), heat)


def test_concentration_of_known_vectors(axes):
    one_carries_all = np.eye(1, 1000)
    all_carry_alike = -np.ones((10, 100))
    plots.concentration(
        axes, {"one": one_carries_all, "all": all_carry_alike}, colors=[plots.FUSION, plots.GREY]
    )
    first, second = axes.lines
    np.testing.assert_allclose(first.get_ydata(), 100)
    np.testing.assert_allclose(second.get_ydata(), second.get_xdata())
    np.testing.assert_allclose(second.get_xdata()[second.get_markevery()], [1, 10, 100])


def test_more_lines_than_styles(axes):
    with pytest.raises(ValueError, match="zip"):
        plots.concentration(axes, {str(n): [1] * 100 for n in range(5)}, colors=["black"] * 5)


@pytest.mark.parametrize("color", [plots.IDENTITY, plots.EXPRESSION, plots.CENTERS, plots.GREY])
def test_words_in_colour_can_be_read_on_white(color):
    """Contrast as WCAG 2.1 defines it, for large text and graphics."""
    channels = np.array(mpl.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3
