"""The command `python -m data_prep`: one source of faces to one prepared database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.align import SourceError
from eifn.database import DatabaseError, check_destination, read_database

TWINS = ("synth-ck", "synth-oulu", "synth-start")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0; 2 for a user's mistake; 130 for Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.source_of_faces is None:
        parser.print_help()
        return 0
    try:
        check_destination(options.out)  # before the long work, not after it
        options.prepare(options)
        print(f"{read_database(options.out)} written to {options.out}")
    except (DatabaseError, SourceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; no half-written database is left", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep",
        description="Prepare a face database: read a source of faces, align and crop every face to 64 x 64, "
        "and write the folder that the command `eifn` and the book read.",
        epilog="`python -m data_prep SOURCE --help` says more about each.",
    )
    sources = parser.add_subparsers(title="sources", metavar="SOURCE", dest="source_of_faces")

    london_set = sources.add_parser(
        "london-set",
        help="real photographs: 102 people, neutral and smiling (CC BY 4.0). Needs a free download",
        description="Prepare the Face Research Lab London Set: 102 people, one neutral and one smiling "
        "photograph each. Download its archives neutral_front and smiling_front from "
        "https://doi.org/10.6084/m9.figshare.5047666 and unzip both in one folder, the --source.",
    )
    london_set.add_argument(
        "--source",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with neutral_front and smiling_front",
    )
    london_set.set_defaults(prepare=_prepare_london_set)

    ck_plus = sources.add_parser(
        "ck-plus",
        help="327 sequences of 118 people. Needs a signed agreement with its owners",
        description="Prepare CK+ (Lucey et al., 2010): the last three frames of every labelled sequence. Ask "
        "its owners for it (http://www.pitt.edu/~emotion/ck-spread.htm) and unpack cohn-kanade-images, "
        "Emotion and Landmarks in one folder, the --source. What is made of it may not be passed on either.",
    )
    ck_plus.add_argument(
        "--source",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with cohn-kanade-images, Emotion and Landmarks",
    )
    ck_plus.set_defaults(prepare=_prepare_ck_plus)

    synthetic = sources.add_parser(
        "synthetic",
        help="drawn faces, for trying everything out and for the book. Needs nothing",
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
        type=float,
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

    examples = {london_set: "data/london", ck_plus: "data/ck-plus", synthetic: "data/synth-ck"}
    for source, example in examples.items():
        source.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help=f"the database to write, e.g. {example}"
        )
    return parser


# Each source is imported by its own command: one that is broken or slow to import leaves the others usable.
def _prepare_london_set(options: argparse.Namespace) -> None:
    from data_prep.london_set import prepare_london_set

    prepare_london_set(options.source, options.out)


def _prepare_ck_plus(options: argparse.Namespace) -> None:
    from data_prep.ck_plus import prepare_ck_plus

    prepare_ck_plus(options.source, options.out)


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
