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


def test_a_face_is_shown_as_it_is(axes):
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    plots.face(axes, frame, title="C001", color=plots.IDENTITY)
    np.testing.assert_array_equal(axes.images[0].get_array(), frame)
    assert axes.title.get_color() == plots.IDENTITY
    assert not axes.axison


def test_a_spread_is_the_share_below(axes):
    values = np.random.default_rng(0).permutation(100) + 1
    plots.spread(axes, {"a": values, "b": [1, 2]}, colors=[plots.IDENTITY, plots.EXPRESSION])
    first, second = axes.lines
    for value, share in zip(*first.get_data(), strict=True):
        assert share == (values <= value).sum()
    np.testing.assert_array_equal(first.get_xdata()[first.get_markevery()], [25, 50, 75])
    assert first.get_linestyle() != second.get_linestyle()


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


def test_estimates_along_a_dial_with_their_intervals(axes):
    found = {"EFN": [(0.8, (0.7, 0.85)), (0.6, (0.5, 0.7))], "EIFN": [(0.5, (0.4, 0.6))] * 2}
    plots.along_dial(axes, [0, 1], found, colors=[plots.GREY, plots.FUSION])
    first, second = axes.containers
    np.testing.assert_allclose(first.lines[0].get_ydata(), [80, 60])
    segments = np.array(first.lines[2][0].get_segments())  # (positions, ends, xy)
    np.testing.assert_allclose(segments[..., 1], [[70, 85], [50, 70]])
    assert first.lines[0].get_linestyle() != second.lines[0].get_linestyle()
    assert (first.lines[0].get_xdata() < second.lines[0].get_xdata()).all()  # side by side
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]
    with pytest.raises(ValueError, match="EIFN: 3 positions, and 2 estimates"):
        plots.along_dial(axes, [0, 1, 2], {"EIFN": found["EIFN"]}, colors=[plots.GREY])


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


def test_names_of_probes_that_are_close_cover_one_another_nowhere(axes):
    crowd = {"efn": (0.10, 0.66), "eifn": (0.11, 0.63), "eifn-star": (0.09, 0.64), "start": (0.14, 0.64)}
    plots.two_probes(axes, {"expression map": crowd}, chance=(0.025, 0.25))
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [*crowd]
    assert not any(box.overlaps(other) for n, box in enumerate(boxes) for other in boxes[:n])


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
