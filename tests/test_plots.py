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


def test_a_wiring_shows_the_wires_that_carry_a_gradient(axes):
    def wires():
        arrows = [text.arrow_patch for text in axes.texts if getattr(text, "arrow_patch", None)]
        return sorted((mpl.colors.to_hex(a.get_edgecolor()).upper(), a.get_linestyle()) for a in arrows)

    by_expression = [(plots.EXPRESSION, "dashed")] * 3
    by_identity = [(plots.IDENTITY, "solid")] * 2
    guide = [(plots.EXPRESSION, "dashed")]
    for identity, guided in ((True, True), (True, False), (False, True)):
        axes.clear()
        plots.wiring(axes, identity=identity, guided=guided, title="")
        assert wires() == sorted(by_expression + by_identity * identity + guide * guided)
        assert ("cut" in {text.get_text() for text in axes.texts}) != guided


def test_layer_cosines_show_mean_ends_and_what_chance_gives(axes):
    measured, shuffled = [[-0.5, 0.1], [0.3, 0.3]], [[0, 0.2], [0, 0]]
    plots.layer_cosines(axes, measured, shuffled, sizes=[100, 10_000], names=["1_1", "1_2"])
    grey, blue = axes.containers
    np.testing.assert_allclose(blue.lines[0].get_ydata(), [-0.1, 0.2])
    np.testing.assert_allclose(
        [bar[:, 1] for bar in blue.lines[2][0].get_segments()], [[-0.5, 0.3], [0.1, 0.3]]
    )
    np.testing.assert_allclose(grey.lines[0].get_ydata(), [0, 0.1])
    assert blue.lines[0].get_marker() != grey.lines[0].get_marker()
    # Cosines of random vectors, drawn.
    draws = np.random.default_rng(0).standard_normal((2, 4000, 100))
    cosines = (draws[0] * draws[1]).sum(1) / np.linalg.norm(draws, axis=2).prod(0)
    edge = axes.collections[0].get_paths()[0].vertices[:, 1].max()
    assert 0.93 < (np.abs(cosines) < edge).mean() < 0.97
    with pytest.raises(ValueError, match="2 and 2 layers, but 1 sizes and 2 names"):
        plots.layer_cosines(axes, measured, shuffled, sizes=[100], names=["1_1", "1_2"])


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
