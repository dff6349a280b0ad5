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


def test_lifetimes_break_where_a_part_starts_anew(axes):
    plots.lifetimes(
        axes,
        {"kept": (plots.IDENTITY, True), "anew": (plots.GREY, False)},
        epochs=(20, 60),
        titles=("one", "two"),
    )
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    assert bars == [(0, 80), (0, 20), (20.5, 59.5)]
    assert [text.get_text() for text in axes.texts] == ["new", "one", "two"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["kept", "anew"]
    with pytest.raises(ValueError, match="zip"):
        plots.lifetimes(axes, {}, epochs=(20, 60), titles=("one",))


def test_training_curves_draw_each_fold_and_their_mean(axes):
    plots.training_curves(
        axes, {"a": [[1, 2, 3], [3, 4, 5]], "b": [[0, 0, 0]]}, colors=[plots.IDENTITY, plots.GREY]
    )
    one, other, mean, *second = axes.lines
    np.testing.assert_array_equal([one.get_ydata(), other.get_ydata()], [[1, 2, 3], [3, 4, 5]])
    np.testing.assert_array_equal(mean.get_ydata(), [2, 3, 4])
    np.testing.assert_array_equal(mean.get_xdata(), [1, 2, 3])
    assert mean.get_linewidth() > one.get_linewidth()
    assert mean.get_linestyle() != second[1].get_linestyle()
    assert axes.get_legend_handles_labels()[1] == ["a", "b"]


def test_singular_values_are_relative_to_the_first(axes):
    plots.singular_values(
        axes, {"a": [10, 5, 1, 0.1], "b": [2, 1]}, colors=[plots.FUSION, plots.GREY], show=3
    )
    first, second = axes.lines
    np.testing.assert_allclose(first.get_ydata(), [1, 0.5, 0.1])
    np.testing.assert_allclose(second.get_ydata(), [1, 0.5])
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()


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
