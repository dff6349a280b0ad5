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


def test_a_face_fills_its_axes_and_marks_lie_on_their_pixels(axes):
    frame = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    plots.face(axes, frame, title="who", marks=[(1, 2), (3, 2)])
    np.testing.assert_array_equal(axes.images[0].get_array(), frame)
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[1, 2]], [[3, 2]]]
    assert axes.get_title() == "who"
    assert not axes.axison


def test_a_split_shows_every_frame_once_as_tested_or_not(axes):
    people, sequences = ["a", "a", "a", "b"], [1, 1, 2, 2]
    plots.splits(axes, {"one": [0, 0, 1, 0], "other": [1, 1, 1, 0]}, people, sequences)
    trained, tested, other_trained, other_tested = (c.get_offsets() for c in axes.collections)
    assert [len(points) for points in (trained, tested, other_trained, other_tested)] == [3, 1, 1, 3]
    places = np.sort(np.concatenate([other_tested[:, 0], other_trained[:, 0]]))
    to_frame, to_sequence, to_person = np.diff(places)
    assert 1 == to_frame < to_sequence < to_person
    assert set(tested[:, 1]) == {0}
    assert set(other_tested[:, 1]) == {1}
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one", "other"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]


def test_a_split_of_other_frames(axes):
    with pytest.raises(ValueError, match="one: 1 frames instead of 2"):
        plots.splits(axes, {"one": [1]}, ["a", "a"], [1, 1])


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
