"""The wheel, installed away from the checkout: it has all that it needs."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]

SCRIPT = """
import importlib.resources, pathlib, sys
import data_prep, eifn
from eifn.extractor import LAPTOP, Extractor
from eifn.probe import TRAINED
from eifn.training import load_model
from eifn.widgets.bilinear_stepper import BilinearStepper

assert pathlib.Path(eifn.__file__).is_relative_to(sys.prefix), eifn.__file__
assert pathlib.Path(data_prep.__file__).is_relative_to(sys.prefix), data_prep.__file__
assert importlib.resources.files("eifn").joinpath("py.typed").is_file()
Extractor(width=1 / 8).load_weights("laptop")
assert len(BilinearStepper()._html()) > 1000
print(len([load_model(path) for path in TRAINED.values()]), eifn.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, tree = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("tree")
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ):  # a copy, since building leaves its own folder behind
        shutil.copy(ROOT / name, tree)
    for name in ("eifn", "data_prep"):
        shutil.copytree(ROOT / name, tree / name)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, tree],
        capture_output=True,
        text=True,
    )
    if built.returncode and "No matching distribution found for setuptools" in built.stderr:
        pytest.skip("setuptools cannot be fetched here, which building needs")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("eifn-*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_holds_two_packages_and_their_data(wheel):
    names = ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"eifn", "data_prep"}
    for needed in ("eifn/py.typed", "data_prep/py.typed", "eifn/weights/README.md", "eifn/widgets/style.css"):
        assert needed in names
    modules = {
        path.relative_to(ROOT).as_posix() for p in ("eifn", "data_prep") for path in (ROOT / p).rglob("*.py")
    }
    assert modules <= set(names)


@pytest.mark.slow
def test_an_environment_with_nothing_of_the_checkout_can_use_it(wheel, tmp_path):
    """This environment lends its dependencies: a folder on the path, whose own .pth files do not count."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    there = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True, cwd=tmp_path
    ).strip()
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel],
        check=True,
    )
    Path(there, "lent.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    out = subprocess.check_output([python, "-c", SCRIPT], text=True, cwd=tmp_path)
    version = wheel.name.split("-")[1]
    assert out.split() == ["3", version]
    for command in (["eifn", "--help"], ["python", "-m", "data_prep"]):
        run = [python.parent / command[0], *command[1:]]
        assert "synthetic" in subprocess.check_output(run, text=True, cwd=tmp_path) or command[0] == "eifn"
