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


def test_embeddings_have_a_shape_for_each_class_and_a_face_if_seen(axes):
    points, centers = [[0, 0], [1, 0], [5, 5]], [[0.5, 0], [5, 4]]
    plots.embeddings(axes, points, [0, 0, 1], centers, seen=[True, False, True], extent=6)
    filled, outlined, other, nothing, middles = axes.collections
    np.testing.assert_array_equal(filled.get_offsets(), [[0, 0]])
    np.testing.assert_array_equal(outlined.get_offsets(), [[1, 0]])
    np.testing.assert_array_equal(other.get_offsets(), [[5, 5]])
    assert len(nothing.get_offsets()) == 0
    np.testing.assert_array_equal(middles.get_offsets(), centers)
    assert mpl.colors.to_hex(filled.get_facecolor()[0]) == plots.IDENTITY.lower()
    assert len(outlined.get_facecolor()) == 0
    assert mpl.colors.to_hex(middles.get_edgecolor()[0]) == plots.CENTERS.lower()
    assert axes.get_xlim() == axes.get_ylim() == (-6, 6)
    assert len(filled.get_paths()[0]) != len(other.get_paths()[0])


@pytest.mark.parametrize(
    ("points", "centers"),
    [(np.zeros((3, 2)), np.zeros((9, 2))), (np.zeros((3, 3)), np.zeros((2, 2))), (np.zeros((2, 2)), [[0]])],
)
def test_embeddings_that_a_plane_or_the_shapes_cannot_show(axes, points, centers):
    with pytest.raises(ValueError, match="at most 8 centers"):
        plots.embeddings(axes, points, [0, 0, 1], centers, seen=[True] * 3, extent=1)


def test_a_step_of_a_center_points_from_before_to_after(axes):
    plots.center_step(axes, [[0, 2], [4, 2]], before=[0, 0], after=[1, 1])
    (arrow,) = axes.texts
    assert (list(arrow.xyann), list(arrow.xy)) == ([0, 0], [1, 1])
    placed = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
    assert placed["their mean"] == [[2, 2]]
    assert placed["center before"] == [[0, 0]]
    assert placed["center after"] == [[1, 1]]


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
