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


def test_confusion_in_percent_of_the_truth(axes):
    plots.confusion(axes, [[3, 1, 0], [0, 2, 0], [1, 0, 2]], ["An", "Di", "Fe"], title="three")
    np.testing.assert_allclose(axes.images[0].get_array(), [[75, 25, 0], [0, 100, 0], [100 / 3, 0, 200 / 3]])
    assert axes.images[0].get_clim() == (0, 100)
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "75",
        (1, 0): "25",
        (1, 1): "100",
        (0, 2): "33",
        (2, 2): "67",
    }
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("truth", "answer")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["An", "Di", "Fe"]


def test_a_difference_of_confusions_shows_its_sign(axes):
    plots.confusion_difference(axes, [[8, 2], [0, 5]], [[5, 5], [0, 10]], ["An", "Di"])
    image = axes.images[0]
    np.testing.assert_allclose(image.get_array(), [[30, -30], [0, 0]])
    assert [text.get_text() for text in axes.texts] == ["+30", "-30"]
    assert mpl.colors.to_hex(image.cmap(image.norm(30))) == plots.IDENTITY.lower()
    assert mpl.colors.to_hex(image.cmap(image.norm(-30))) == plots.EXPRESSION.lower()
    assert mpl.colors.to_hex(image.cmap(image.norm(0))) == "#ffffff"


@pytest.mark.parametrize("counts", [[[1, 0], [0, 0]], [[1, 0]], [[1]]])
def test_a_confusion_without_a_row_or_with_an_empty_one(axes, counts):
    with pytest.raises(ValueError, match="2 classes"):
        plots.confusion(axes, counts, ["An", "Di"])


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


def test_probes_are_drawn_where_they_read_and_named(axes):
    plots.two_probes(
        axes,
        {"identity map": {"EFN": (0.2, 0.6), "EIFN": (0.8, 0.4)}, "yardstick": {"pixels": (0.9, 0.7)}},
        chance=(0.025, 0.25),
    )
    identity, yardstick, across, up = axes.lines
    np.testing.assert_allclose(identity.get_xydata(), [[20, 60], [80, 40]])
    np.testing.assert_allclose(yardstick.get_xydata(), [[90, 70]])
    assert identity.get_color() == plots.IDENTITY
    assert identity.get_marker() != yardstick.get_marker()
    assert [(text.get_text(), *text.xy) for text in axes.texts] == [
        ("EFN", 20, 60),
        ("EIFN", 80, 40),
        ("pixels", 90, 70),
    ]
    assert list(across.get_xdata()) == [2.5, 2.5]
    assert list(up.get_ydata()) == [25, 25]


def test_intervals_in_percent_from_the_top(axes):
    plots.intervals(axes, {"A": (0.5, (0.4, 0.6)), "B": (0.9, (0.8, 0.95))}, highlight="B", title="two")
    a_line, a_point, b_line, b_point = axes.lines
    np.testing.assert_allclose(a_line.get_xydata(), [[40, 0], [60, 0]])
    np.testing.assert_allclose(b_line.get_xydata(), [[80, 1], [95, 1]])
    np.testing.assert_allclose(b_point.get_xydata(), [[90, 1]])
    assert a_point.get_color() != b_point.get_color()
    assert a_point.get_marker() != b_point.get_marker()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", "B"]
    assert axes.yaxis_inverted()
    (band,) = axes.patches
    np.testing.assert_allclose([band.get_x(), band.get_x() + band.get_width()], [80, 95])
    with pytest.raises(KeyError):
        plots.intervals(axes, {"A": (0.5, (0.4, 0.6))}, highlight="B")


def test_a_region_is_veiled_where_it_lies(axes):
    shares = np.zeros((8, 8))
    shares[1, 6], shares[7, 0] = 1, -0.5
    plots.regions(axes, np.full((64, 64, 3), 100, np.uint8), shares, color=plots.IDENTITY)
    face, veil = axes.images
    np.testing.assert_array_equal(face.get_array(), np.full((64, 64), 100))
    assert veil.get_extent() == face.get_extent()  # so that row 1, column 6 is pixels 8-15, 48-55
    opacity = veil.get_array()[..., 3]
    assert opacity[1, 6] > 0.5
    assert np.count_nonzero(opacity) == 1
    assert mpl.colors.to_hex(veil.get_array()[1, 6, :3]) == plots.IDENTITY.lower()


def test_more_lines_than_styles(axes):
    with pytest.raises(ValueError, match="zip"):
        plots.concentration(axes, {str(n): [1] * 100 for n in range(5)}, colors=["black"] * 5)


@pytest.mark.parametrize("color", [plots.IDENTITY, plots.EXPRESSION, plots.CENTERS, plots.GREY])
def test_words_in_colour_can_be_read_on_white(color):
    """Contrast as WCAG 2.1 defines it, for large text and graphics."""
    channels = np.array(mpl.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3
