"""The command `python -m data_prep`: one source of faces to one prepared database."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep import csv_manifest
from data_prep.align import SourceError
from data_prep.photographs import partial_folder
from eifn.database import DatabaseError, check_destination, read_database

TWINS = ("synth-ck", "synth-oulu", "synth-start")


@dataclass(frozen=True)
class Source:
    """What the list of sources says about one."""

    holds: str
    needs: str
    ask: str
    licence: str


SOURCES = {
    "synthetic": Source(
        "drawn faces: twins of CK+ and of Oulu-CASIA, for the book and for trying everything out",
        "nothing",
        "nobody, it is drawn here",
        "CC0 1.0",
    ),
    "london-set": Source(
        "real photographs: 102 people, neutral and smiling",
        "neutral_front and smiling_front, unzipped in one folder",
        "https://doi.org/10.6084/m9.figshare.5047666, a free download",
        "CC BY 4.0",
    ),
    "ck-plus": Source(
        "CK+: 327 labelled sequences of 118 people, seven expressions",
        "cohn-kanade-images, Emotion and Landmarks, unpacked in one folder",
        "its owners, by a signed agreement: https://www.jeffcohn.net/Resources/",
        "research only; neither it nor what is made of it may be passed on",
    ),
    "oulu-casia": Source(
        "Oulu-CASIA: 480 sequences of 80 people, six expressions",
        "OriginalImg (also as B_OriginalImg) or PreProcess_Img, unpacked",
        "University of Oulu, CMVS, by a signed agreement: https://www.oulu.fi/cmvs/node/41316",
        "research only; neither it nor what is made of it may be passed on",
    ),
    "csv": Source(
        "your own images, or frames of CREMA-D or RAVDESS",
        "a CSV file in the folder of the images that says who shows what in each",
        "whoever has them; `csv --help` shows how CREMA-D and RAVDESS get in",
        "theirs, which you state",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0; 2 for a user's mistake; 130 for Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    if options.command is None:
        try:
            print(_list_of_sources(), flush=True)
        except BrokenPipeError:  # `python -m data_prep | head`: enough was read
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    try:
        if options.command == "overlay":
            _draw_overlay(options)
            print(f"{options.out} written")
        elif options.command == "sheets":
            _draw_sheets(options)
        else:
            check_destination(options.out)  # before the long work, not after it
            options.prepare(options)
            print(f"{read_database(options.out)} written to {options.out}")
    except (DatabaseError, SourceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = partial_folder(options.out)
        print(
            f"interrupted; {kept} keeps what is done: the same command goes on from there"
            if kept.is_dir()
            else "interrupted; no half-written database is left",
            file=sys.stderr,
        )
        return 130
    return 0


def _list_of_sources() -> str:
    lines = [
        "usage: python -m data_prep SOURCE --out DIR ...",
        "",
        "One source of faces to one prepared database:",
    ]
    for name, source in SOURCES.items():
        lines += [
            "",
            f"  {name}: {source.holds}",
            f"      needs    {source.needs}",
            f"      ask      {source.ask}",
            f"      licence  {source.licence}",
        ]
    return "\n".join(
        [
            *lines,
            "",
            "`python -m data_prep SOURCE --help` says more about each.",
            "`python -m data_prep overlay --databases DIR ... --out FILE.png` lays faces over one another,",
            "`python -m data_prep sheets --out DIR` draws contact sheets of the synthetic ones,",
            "`python -m data_prep leak --database DIR --out DIR` breaks the protocol on purpose (chapter 2).",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep",
        description="Prepare a face database: read a source of faces, align and crop every face to 64 x 64, "
        "and write the folder that the command `eifn` and the book read.",
        epilog="`python -m data_prep` alone says what each source needs, and "
        "`python -m data_prep SOURCE --help` more.",
    )
    sources = parser.add_subparsers(
        title="sources, and what is made of prepared ones", metavar="SOURCE", dest="command"
    )

    london_set = sources.add_parser(
        "london-set",
        help=SOURCES["london-set"].holds,
        description="Prepare the Face Research Lab London Set: 102 people, one neutral and one smiling "
        "photograph each. Download its archives neutral_front and smiling_front from "
        "https://doi.org/10.6084/m9.figshare.5047666 and unzip both in one folder, the --source.",
    )
    london_set.set_defaults(prepare=_prepare_london_set)

    ck_plus = sources.add_parser(
        "ck-plus",
        help=SOURCES["ck-plus"].holds,
        description="Prepare CK+ (Lucey et al., 2010): the last three frames of every labelled sequence. Ask "
        "its owners for it (https://www.jeffcohn.net/Resources/) and unpack cohn-kanade-images, "
        "Emotion and Landmarks in one folder, the --source. What is made of it may not be passed on either.",
    )
    ck_plus.set_defaults(prepare=_prepare_ck_plus)

    oulu_casia = sources.add_parser(
        "oulu-casia",
        help=SOURCES["oulu-casia"].holds,
        description="Prepare Oulu-CASIA (Zhao et al., 2011): the last three frames of every sequence. Ask "
        "the University of Oulu for it (https://www.oulu.fi/cmvs/node/41316) and unpack B_OriginalImg or "
        "PreProcess_Img; the folder above is the --source. Where both are, the original images are used. The "
        "eyes are found by OpenCV. What is made of it may not be passed on either.",
    )
    oulu_casia.add_argument(
        "--camera", choices=("VL", "NI"), default="VL", help="visible light or near infrared (default: VL)"
    )
    oulu_casia.add_argument(
        "--light", choices=("Strong", "Weak", "Dark"), default="Strong", help="in the room (default: Strong)"
    )
    oulu_casia.set_defaults(prepare=_prepare_oulu_casia)

    own = sources.add_parser(
        "csv",
        help=SOURCES["csv"].holds,
        description=csv_manifest.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument(
        "--manifest",
        type=Path,
        required=True,
        metavar="FILE",
        help="the CSV file, in the folder of the images",
    )
    own.add_argument("--name", required=True, help="of the database, e.g. crema-d")
    own.add_argument("--licence", required=True, help='of the images, e.g. "ODbL 1.0"')
    own.add_argument("--citation", default="none given", help="whom to cite")
    own.set_defaults(prepare=_prepare_csv)

    synthetic = sources.add_parser(
        "synthetic",
        help=SOURCES["synthetic"].holds,
        description="Draw a twin of CK+ or of Oulu-CASIA: synthetic faces in the same number of subjects, "
        "sequences and expressions. No results on them are results on faces.",
    )
    synthetic.add_argument(
        "--twin",
        choices=TWINS,
        required=True,
        help="the twin of CK+, that of Oulu-CASIA, or the people that pre-training uses",
    )
    synthetic.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another number draws other people (default: 0)"
    )
    synthetic.add_argument(
        "--entanglement",
        type=_share,
        default=0.5,
        metavar="E",
        help="how far resting faces imitate an expression, from 0 (not at all) to 1 (default: 0.5)",
    )
    synthetic.add_argument(
        "--all-frames",
        action="store_true",
        help="whole sequences instead of their last three frames; what comes before the onset is neutral",
    )
    synthetic.set_defaults(prepare=_prepare_synthetic)

    for source, folders in {
        london_set: "neutral_front and smiling_front",
        ck_plus: "cohn-kanade-images, Emotion and Landmarks",
        oulu_casia: "OriginalImg or PreProcess_Img",
    }.items():
        source.add_argument(
            "--source", type=Path, required=True, metavar="DIR", help=f"folder with {folders}"
        )
    for source in (london_set, ck_plus, oulu_casia, own):
        source.add_argument(
            "--on-failure",
            choices=("error", "skip"),
            default="error",
            help="what to do about images that are damaged or whose face is not found: name them and write "
            "nothing (default), or name them and leave them out",
        )
    examples = {
        london_set: "data/london",
        ck_plus: "data/ck-plus",
        oulu_casia: "data/oulu-casia",
        own: "data/crema-d",
        synthetic: "data/synth-ck",
    }
    for source, example in examples.items():
        source.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help=f"the database to write, e.g. {example}"
        )

    overlay = sources.add_parser(
        "overlay",
        help="the mean faces of prepared databases, to see whether they come together",
        description="Draw the mean face of each prepared database side by side, and last the mean of them, "
        "with crosses where the pupils belong.",
    )
    overlay.add_argument(
        "--databases", type=Path, nargs="+", required=True, metavar="DIR", help="prepared ones"
    )
    overlay.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the picture, e.g. overlay.png"
    )
    sheets = sources.add_parser(
        "sheets",
        help="contact sheets of the synthetic faces",
        description="Draw contact sheets: people and expressions at 64 and 256 pixels, each action unit, the "
        "dial of entanglement, sequences.",
    )
    sheets.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for the pictures")

    leak = sources.add_parser(
        "leak",
        help="a copy of a database in which every frame claims to show another person",
        description="Copy a prepared database and give every frame a subject of its own, so that the "
        "subject-independent folds of the copy are random folds of frames: how much a leak is worth. No "
        "result on the copy says how well anything works on new people.",
    )
    leak.add_argument(
        "--database", type=Path, required=True, metavar="DIR", help="the prepared database to copy"
    )
    leak.add_argument("--seed", type=int, default=0, metavar="N", help="of the random order (default: 0)")
    leak.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the copy, e.g. data/leak/synth-ck"
    )
    leak.set_defaults(prepare=_prepare_leak)
    return parser


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return number


# Each source is imported by its own command: one that is broken or slow to import leaves the others usable.
def _prepare_london_set(options: argparse.Namespace) -> None:
    from data_prep.london_set import prepare_london_set

    prepare_london_set(options.source, options.out, on_failure=options.on_failure)


def _prepare_ck_plus(options: argparse.Namespace) -> None:
    from data_prep.ck_plus import prepare_ck_plus

    prepare_ck_plus(options.source, options.out, on_failure=options.on_failure)


def _prepare_oulu_casia(options: argparse.Namespace) -> None:
    from data_prep.oulu_casia import prepare_oulu_casia

    prepare_oulu_casia(
        options.source,
        options.out,
        camera=options.camera,
        light=options.light,
        on_failure=options.on_failure,
    )


def _prepare_csv(options: argparse.Namespace) -> None:
    csv_manifest.prepare_csv(
        options.manifest,
        options.out,
        name=options.name,
        licence=options.licence,
        citation=options.citation,
        on_failure=options.on_failure,
    )


def _draw_overlay(options: argparse.Namespace) -> None:
    from data_prep.overlay import draw_overlay

    draw_overlay(options.databases, options.out)


def _draw_sheets(options: argparse.Namespace) -> None:
    from data_prep.synthetic.sheets import write_sheets

    for file in write_sheets(options.out):
        print(f"{file} written")


def _prepare_leak(options: argparse.Namespace) -> None:
    from data_prep.leak import write_leak

    write_leak(options.database, options.out, seed=options.seed)


def _prepare_synthetic(options: argparse.Namespace) -> None:
    from data_prep.synthetic.twins import write_twin

    write_twin(
        options.twin,
        options.out,
        seed=options.seed,
        entanglement=options.entanglement,
        all_frames=options.all_frames,
    )


if __name__ == "__main__":
    sys.exit(main())
