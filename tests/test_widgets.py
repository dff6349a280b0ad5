import json
import re

import numpy as np
import pytest
import torch

from eifn.widgets.bilinear_stepper import BilinearStepper

MAP = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def embedded(widget):
    """The JSON in the widget's HTML, found as a browser would: up to the first end of a script element."""
    html = widget._repr_mimebundle_()[0]["text/html"]
    return json.loads(re.search(r'<script type="application/json">(.*?)</script', html, re.DOTALL)[1])


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_maps_may_be_anything_that_numpy_reads(kind):
    stepper = BilinearStepper(identity_map=kind(MAP))
    assert stepper.identity_map == MAP
    assert json.loads(json.dumps(stepper.identity_map)) == MAP


@pytest.mark.parametrize("name", ["identity_map", "expression_map"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2], [3, 4]], r"the shape must be .*got \(2, 2\)"),
        (np.zeros((4, 2, 2)), r"the shape must be .*got \(4, 2, 2\)"),
        ([[[1, 2], [3]]], "numbers in the shape"),
        ([[["a", 2], [3, 4]]] * 2, "numbers in the shape"),
        (np.full((2, 2, 2), np.nan), "values from -10000 to 10000"),
        (np.full((2, 2, 2), 10_001), "values from -10000 to 10000"),
    ],
)
def test_a_bad_map_is_named_and_changes_nothing(name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        BilinearStepper(**{name: value})
    stepper = BilinearStepper(**{name: MAP})
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        setattr(stepper, name, value)
    assert getattr(stepper, name) == MAP


@pytest.mark.parametrize("step", [0, 7, 1.5, "last", None])
def test_a_bad_step_is_named(step):
    with pytest.raises(ValueError, match=r"^step: a whole number from 1 to 6"):
        BilinearStepper(step=step)
    stepper = BilinearStepper()
    with pytest.raises(ValueError, match=r"^step: a whole number from 1 to 6"):
        stepper.step = step


def test_python_sees_what_changes():
    stepper, seen = BilinearStepper(), []
    stepper.observe(lambda change: seen.append((change.name, change.new)), ["identity_map", "step"])
    # What the kernel does with a message from the browser.
    stepper.set_state({"identity_map": MAP, "step": 6})
    assert sorted(seen) == [("identity_map", MAP), ("step", 6)]


def test_the_page_gets_the_state_and_nothing_of_the_machinery():
    stepper = BilinearStepper(identity_map=MAP, step=3)
    data = embedded(stepper)
    assert data["state"] == {
        "identity_map": MAP,
        "expression_map": stepper.expression_map,
        "step": 3,
    }
    assert data["source"].endswith("export default { render };\n")
    stepper.step = 4
    assert embedded(stepper)["state"]["step"] == 4


def test_what_a_notebook_saves_is_the_same_each_time():
    first, second = (BilinearStepper(identity_map=MAP)._repr_mimebundle_()[0] for _ in range(2))
    assert first["text/html"] == second["text/html"]
    assert first["text/plain"] == second["text/plain"]
    assert " at 0x" not in first["text/plain"]
    assert len(first["text/html"]) < 400_000


def test_the_page_asks_for_nothing():
    html = BilinearStepper()._repr_mimebundle_()[0]["text/html"]
    html = html.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"https?://|\bfetch\(|@import|src=|href=", html)
