"""Every number that the paper states, and the register of what it leaves unsaid.

Zhang, Su and Wang, *Expression-Identity Fusion Network for Facial Expression Recognition*, ICIP 2019.
Percentages are as printed, and counts are derived from them. Prose, tests and presets take the paper's
numbers from here.

What a close reading of the tables shows:

- The rows of Tables 3 and 4 sum to 100, so rows are the truth and columns the answer.
- Table 3 times the class sizes of CK+ gives whole sequences: 314 of 327, which is the 96.02 % of Table 1.
  One sequence is 0.31 points. Whole sequences are whole frames too, so this does not prove that sequences
  were counted.
- Table 4 fits frames only: 82.08 % is 197 of 240 frames, and no number of 80 sequences. The diagonal is 1227
  of 1440 frames, which is the 85.21 % of Table 2.
- EIFN* on CK+, 95.01 %, is 932 of 981 frames and no number of 327 sequences. EFN, 94.30 %, is neither, so
  perhaps a mean of ten unequal folds, or a misprint. Table 1 may not measure its three variants in one way.
- In the row of sadness in Table 3, 24 of 28 is printed as 85.72 where rounding gives 85.71; as printed, the
  row sums to 100.
- λ1, λ2, λ3 go with the database being trained on, in either stage: (0.0001, 2, 1) with CK+, and
  (0.0001, 1, 6) with Oulu-CASIA.

Book: chapter 13, *Reading critically*.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

# Section 3.1, the input.

FRAMES_PER_SEQUENCE = 3
"""The last frames of each sequence, for training and for testing."""

IMAGE_SIZE = 64
"""Height and width of a face in pixels, once aligned, cropped and scaled."""

ROTATIONS = (-15, -10, -5, 0, 5, 10, 15)
"""Degrees by which each training image is rotated; each is also flipped horizontally."""

AUGMENTATION = 2 * len(ROTATIONS)
"""14: how many times larger the training set becomes."""

# Section 3.1, the training.

FOLDS = 10
"""Folds of the subject-independent cross-validation."""

BATCH_SIZE = 100
MOMENTUM = 0.9
WEIGHT_DECAY = 0.0005

LEARNING_RATE = 0.01
"""Of the first stage, and of the second at its start."""

LEARNING_RATE_DIVISOR = 10
"""What divides the learning rate in the second stage ..."""

LEARNING_RATE_STEP = 20
"""... after every so many epochs."""

CODES: Mapping[str, str] = MappingProxyType(
    {
        "anger": "An",
        "contempt": "Co",
        "disgust": "Di",
        "fear": "Fe",
        "happiness": "Ha",
        "sadness": "Sa",
        "surprise": "Su",
    }
)
"""The two-letter codes, for the heads of tables only."""


@dataclass(frozen=True)
class Result:
    """One row of Table 1 or 2."""

    method: str
    setting: Literal["image-based", "sequence-based"]
    accuracy: float
    """Percent."""
    reference: int | None
    """The number in the paper's list of references; None for the paper's own three variants."""


@dataclass(frozen=True)
class Evaluation:
    """One database as the paper evaluates on it."""

    name: str
    subjects: int
    sequences: Mapping[str, int]
    """Sequences of each expression; its keys are the order of rows and columns of `confusion`."""
    pretrained_on: str
    """The other database, on which the first stage trains, with the loss weights of that one."""
    loss_weights: Mapping[str, float]
    """λ1, λ2 and λ3 of equation 5, when training on this database."""
    results: tuple[Result, ...]
    """Table 1 or 2, row by row. EFN is printed as "EFN (baseline)"."""
    confusion: tuple[tuple[float, ...], ...]
    """Table 3 or 4: percent, rows are the truth."""
    counted_in: Literal["sequences", "frames"]
    """The larger unit in which every cell of `confusion` is a whole number; three frames make a sequence, so
    what is whole in sequences is whole in frames too."""

    @property
    def expressions(self) -> tuple[str, ...]:
        """The classes, in the order of the rows and columns of `confusion`."""
        return tuple(self.sequences)

    @property
    def counts(self) -> tuple[tuple[int, ...], ...]:
        """`confusion` as whole numbers of `counted_in`."""
        each = FRAMES_PER_SEQUENCE if self.counted_in == "frames" else 1
        return tuple(
            tuple(round(percent * each * n / 100) for percent in row)
            for row, n in zip(self.confusion, self.sequences.values(), strict=True)
        )

    @property
    def correct(self) -> int:
        """The diagonal of `counts`: what EIFN got right."""
        return sum(row[i] for i, row in enumerate(self.counts))

    @property
    def total(self) -> int:
        """All of `counts`: what EIFN was asked."""
        return sum(map(sum, self.counts))

    def accuracy(self, method: str) -> float:
        """The accuracy of a method in `results`, in percent.

        Raises:
            KeyError: the table has no such method.
        """
        return {result.method: result.accuracy for result in self.results}[method]


CK_PLUS = Evaluation(
    name="CK+",
    subjects=118,
    # The paper states 327 sequences, 18 of them contempt; the other six are from the database's own paper
    # (Lucey et al. 2010, reference [7]).
    sequences=MappingProxyType(
        {
            "anger": 45,
            "contempt": 18,
            "disgust": 59,
            "fear": 25,
            "happiness": 69,
            "sadness": 28,
            "surprise": 83,
        }
    ),
    pretrained_on="Oulu-CASIA",
    loss_weights=MappingProxyType({"center": 0.0001, "identity": 2.0, "expression": 1.0}),
    results=(
        Result("3DCNN-DAP", "sequence-based", 92.40, 13),
        Result("STM-ExpLet", "sequence-based", 94.19, 14),
        Result("IL-CNN", "image-based", 94.35, 15),
        Result("LOMo", "sequence-based", 95.10, 16),
        Result("IACNN", "image-based", 95.37, 6),
        Result("MSCNN", "image-based", 95.54, 5),
        Result("DTAGN", "sequence-based", 97.25, 17),
        Result("PHRNN-MSCNN", "sequence-based", 98.50, 5),
        Result("EFN", "image-based", 94.30, None),
        Result("EIFN*", "image-based", 95.01, None),
        Result("EIFN", "image-based", 96.02, None),
    ),
    confusion=(
        (93.33, 0, 0, 0, 0, 6.67, 0),
        (0, 88.89, 0, 0, 0, 11.11, 0),
        (0, 0, 100, 0, 0, 0, 0),
        (0, 4.00, 0, 92.00, 0, 0, 4.00),
        (0, 0, 0, 0, 100, 0, 0),
        (10.71, 0, 0, 3.57, 0, 85.72, 0),
        (0, 2.41, 0, 0, 0, 0, 97.59),
    ),
    counted_in="sequences",
)
"""Tables 1 and 3."""

OULU_CASIA = Evaluation(
    name="Oulu-CASIA",
    subjects=80,
    sequences=MappingProxyType(
        {
            "anger": 80,
            "disgust": 80,
            "fear": 80,
            "happiness": 80,
            "sadness": 80,
            "surprise": 80,
        }
    ),
    pretrained_on="CK+",
    loss_weights=MappingProxyType({"center": 0.0001, "identity": 1.0, "expression": 6.0}),
    results=(
        Result("STM-ExpLet", "sequence-based", 74.59, 14),
        Result("IL-CNN", "image-based", 77.29, 15),
        Result("MSCNN", "image-based", 77.69, 5),
        Result("DTAGN", "sequence-based", 81.86, 17),
        Result("LOMo", "sequence-based", 82.10, 16),
        Result("PPDN", "image-based", 84.59, 18),
        Result("PHRNN-MSCNN", "sequence-based", 86.25, 5),
        Result("FN2EN", "image-based", 87.71, 19),
        Result("EFN", "image-based", 81.74, None),
        Result("EIFN*", "image-based", 83.33, None),
        Result("EIFN", "image-based", 85.21, None),
    ),
    confusion=(
        (82.08, 3.75, 2.50, 0, 11.67, 0),
        (12.50, 76.25, 1.25, 0, 10.00, 0),
        (2.50, 1.25, 85.00, 3.75, 1.25, 6.25),
        (0, 0, 6.25, 92.92, 0.83, 0),
        (11.67, 3.75, 0, 2.08, 82.50, 0),
        (0, 0, 7.50, 0, 0, 92.50),
    ),
    counted_in="frames",
)
"""Tables 2 and 4."""


@dataclass(frozen=True, kw_only=True)
class Unsaid:
    """One thing that a reader must decide to build EIFN, because the paper does not say."""

    topic: str
    question: str
    chosen: str
    alternatives: tuple[str, ...]
    where: str
    """The module that decides it, or `module:attribute`."""
    effect: str | None = None
    """What the choice changes, as measured; None where nobody has measured it here."""

    def __str__(self) -> str:
        """Question, choice and alternatives, in lines that fit a page of the book."""
        choices = [f"chosen: {self.chosen}", *(f"or: {other}" for other in self.alternatives)]
        indented = [
            textwrap.fill(choice, 76, initial_indent="  ", subsequent_indent="    ") for choice in choices
        ]
        return "\n".join([textwrap.fill(self.question, 76), *indented])


UNSAID = (
    # The network.
    Unsaid(
        topic="fully connected layers",
        question="How wide are the two of the identity branch, and on which output does center loss act?",
        chosen="512 and 512 at width 1; ReLU between, none after the second, whose output is the embedding",
        alternatives=("4096 and 4096, as in VGG-16", "ReLU after both"),
        where="eifn.network:EIFN",
    ),
    Unsaid(
        topic="identity classifier",
        question="Is the layer in front of the softmax one of the two fully connected layers?",
        chosen="no: it is a third, linear layer",
        alternatives=("yes: the second layer scores the subjects, and center loss acts on the first",),
        where="eifn.network:EIFN",
    ),
    Unsaid(
        topic="expression classifier",
        question="What stands between the fused vector and its softmax?",
        chosen="one linear layer with bias, on 512 x 512 values at width 1",
        alternatives=("no bias", "a hidden layer"),
        where="eifn.network:EIFN",
    ),
    Unsaid(
        topic="dropout",
        question="Is there dropout in the identity branch?",
        chosen="none",
        alternatives=("0.5 after each fully connected layer, as in VGG-16",),
        where="eifn.network:EIFN",
    ),
    Unsaid(
        topic="new layers",
        question="How do the linear layers start?",
        chosen="the expression classifier normal with standard deviation 1, since its input has length 1; "
        "the others by PyTorch's default",
        alternatives=(
            "all by PyTorch's default, uniform within 1 / sqrt(inputs)",
            "normal with standard deviation 0.01, as was usual in Caffe",
        ),
        where="eifn.network:EIFN",
        effect="on synthetic faces, without stage one: with PyTorch's default 160 of 327 sequences right "
        "instead of 206, and 51 % of the training images instead of 100 %",
    ),
    Unsaid(
        topic="start of the expression extractor",
        question="Section 2.1 starts the identity extractor from ImageNet. And the other one?",
        chosen="both start from ImageNet",
        alternatives=("the expression extractor starts from random weights",),
        where="eifn.training:train_stage_one",
    ),
    Unsaid(
        topic="ImageNet weights",
        question="Which VGG-16 weights, and which input do they expect?",
        chosen="torchvision's: RGB in 0 to 1, less ImageNet's mean, divided by its standard deviation",
        alternatives=("Simonyan and Zisserman's: BGR in 0 to 255, less the mean",),
        where="eifn.augment:normalize",
    ),
    Unsaid(
        topic="epsilon of the signed square root",
        question="Is a small number added under the root, as in other bilinear networks?",
        chosen="none: the gradient is set to 0 where the value is 0",
        alternatives=("1e-5 under the root, which ends scale invariance", "1e-12"),
        where="eifn.fusion:signed_sqrt",
        effect="on synthetic faces, without stage one: 209 of 327 sequences right with 1e-5, 206 without, "
        "202 without and with another seed",
    ),
    # The losses.
    Unsaid(
        topic="reduction of center loss",
        question="Is the sum over the batch divided by something? λ1 means little until this is fixed.",
        chosen="mean over the batch of half the squared distance",
        alternatives=(
            "sum over the batch, as in Wen et al.",
            "mean without the half",
            "mean over the dimensions too",
        ),
        where="eifn.center_loss:CenterLoss.forward",
        effect="on synthetic faces, without stage one: 222 of 327 sequences right with the sum and 206 with "
        "the mean, 216 and 202 with another seed; with stage one and 100 λ1 490 of 654 instead of 493",
    ),
    Unsaid(
        topic="update of the centers",
        question="By which rule do the centers move, and when?",
        chosen="Wen et al.'s, after the gradient step; the loss of a batch uses the centers from before it",
        alternatives=(
            "an SGD step on the loss, with its momentum",
            "Wen et al.'s rule without the division by 1 + n",
        ),
        where="eifn.center_loss:CenterLoss.update",
    ),
    Unsaid(
        topic="rate of the centers",
        question="What is alpha?",
        chosen="0.5, as in Wen et al.",
        alternatives=("any other value from 0 to 1",),
        where="eifn.center_loss:CenterLoss",
    ),
    Unsaid(
        topic="first centers",
        question="Where do the centers start?",
        chosen="at zero",
        alternatives=("at random", "at the mean embedding of each subject"),
        where="eifn.center_loss:CenterLoss",
    ),
    Unsaid(
        topic="reduction of the softmax losses",
        question="Are the two softmax losses summed or averaged?",
        chosen="mean over the batch",
        alternatives=("sum over the batch",),
        where="eifn.objective:losses",
    ),
    Unsaid(
        topic="identity head of EFN",
        question="λ2 = 0 takes its gradient away. Does weight decay still shrink it?",
        chosen="no: the identity terms are not computed, and the head stays as it started",
        alternatives=("yes: the terms are computed and multiplied by 0",),
        where="eifn.objective:losses",
        effect="on synthetic faces, five steps: its length times 1.000000, or 0.999934 where the terms are "
        "multiplied by 0; by arithmetic 0.88 after 20 epochs on CK+",
    ),
    Unsaid(
        topic="EIFN* in the first stage",
        question="Is the gradient stopped while pre-training too?",
        chosen="yes, in both stages",
        alternatives=("only while fine-tuning",),
        where="eifn.network:Variant",
    ),
    # The training.
    Unsaid(
        topic="epochs of the first stage",
        question="How long is the pre-training?",
        chosen="20 epochs",
        alternatives=("until the loss stops falling", "as long as the second stage"),
        where="eifn.training:PRESETS",
    ),
    Unsaid(
        topic="learning rate of the first stage",
        question="Is it divided there too?",
        chosen="no: constant 0.01",
        alternatives=("divided by 10 every 20 epochs, as in the second stage",),
        where="eifn.training:Preset",
    ),
    Unsaid(
        topic="epochs of the second stage",
        question="How long is the fine-tuning?",
        chosen="60 epochs: 20 at each of 0.01, 0.001 and 0.0001",
        alternatives=("40 epochs", "80 epochs"),
        where="eifn.training:PRESETS",
    ),
    Unsaid(
        topic="an epoch",
        question="Does an epoch pass over the 14 views of each training image, or over the images?",
        chosen="over all 14 views",
        alternatives=(
            "over the images, each in one random view",
            "over as few views of each as make 1440 images (presets `wide` and `laptop`)",
        ),
        where="eifn.training:PRESETS",
    ),
    Unsaid(
        topic="reported epoch",
        question="Which epoch's network is tested?",
        chosen="the last one, and the test fold is looked at once",
        alternatives=("the best on the test fold, which is a leak", "the best on held-out training subjects"),
        where="eifn.training:Trainer.fit",
    ),
    Unsaid(
        topic="between the stages",
        question="What of the pre-trained network cannot be kept, with other subjects and other expressions?",
        chosen="only the extractors are kept: classifiers, fully connected layers and centers start anew",
        alternatives=("the fully connected layers are kept too",),
        where="eifn.network:EIFN.replace_heads",
    ),
    Unsaid(
        topic="gradient clipping",
        question="Is a very long gradient shortened?",
        chosen="no (preset `paper`)",
        alternatives=(
            "to a length of 10 (preset `laptop`, which diverged without it when it started from scratch)",
        ),
        where="eifn.training:PRESETS",
        effect="on synthetic faces, the first step of preset `laptop`: EFN's gradient is not shortened, and "
        "EIFN's, its expression part included, to about a fifth",
    ),
    Unsaid(
        topic="subjects of the first stage",
        question="Which part of the other database is used?",
        chosen="all of its subjects: none of them is tested, so one pre-training serves all folds",
        alternatives=("the training set of a fold",),
        where="eifn.training:train_stage_one",
    ),
    Unsaid(
        topic="views of the first stage",
        question="Are the pre-training images rotated and flipped too?",
        chosen="yes",
        alternatives=("no",),
        where="eifn.training:Trainer.fit",
    ),
    Unsaid(
        topic="momentum",
        question="Which momentum, and does it survive the change of stage?",
        chosen="the classical kind, starting from zero in each stage",
        alternatives=("Nesterov's",),
        where="eifn.training:Trainer.fit",
    ),
    Unsaid(
        topic="reach of weight decay",
        question="Does it act on biases?",
        chosen="yes, on every parameter that is trained; not on the centers",
        alternatives=("on weights only",),
        where="eifn.training:Trainer.fit",
    ),
    Unsaid(
        topic="data order",
        question="In which order are the images seen, and what becomes of a last batch below 100?",
        chosen="a new random order every epoch; the short batch is kept",
        alternatives=("one order for all epochs", "the short batch is dropped"),
        where="eifn.training:Trainer.fit",
    ),
    Unsaid(
        topic="number format",
        question="In which precision is the network trained?",
        chosen="bfloat16 in convolutions and linear layers, 32 bits in fusion and losses (preset `paper`)",
        alternatives=("32 bits throughout (preset `laptop`)",),
        where="eifn.training:PRESETS",
    ),
    # The images.
    Unsaid(
        topic="alignment",
        question="Where do the eyes lie in the 64 x 64 crop?",
        chosen="pupils at (20.5, 21.5) and (42.5, 21.5)",
        alternatives=("a wider or tighter crop", "a fit to more landmarks than the eyes"),
        where="data_prep.align:LEFT_PUPIL",
    ),
    Unsaid(
        topic="colour",
        question="CK+ is mostly grey, Oulu-CASIA in colour. What does the network see?",
        chosen="three channels; a grey image is repeated, a colour image stays",
        alternatives=("all images turned grey",),
        where="eifn.database",
    ),
    Unsaid(
        topic="recordings of Oulu-CASIA",
        question="It has two cameras and three lights. Which of its sequences are the 480?",
        chosen="visible light camera, strong light, as is usual",
        alternatives=("near infrared", "weak or dark light"),
        where="data_prep",
    ),
    Unsaid(
        topic="neutral frames",
        question="Are the neutral first frames of the sequences used as a class?",
        chosen="no: only the last three frames are used",
        alternatives=("as one more class",),
        where="data_prep",
    ),
    Unsaid(
        topic="border of a rotated image",
        question="What fills the corners, and how are pixels interpolated?",
        chosen="reflection at the border, bilinear",
        alternatives=("black", "the border pixel repeated", "a larger crop taken from the original"),
        where="eifn.augment:augment",
    ),
    Unsaid(
        topic="14 times larger",
        question="Is the original one of the 14 images?",
        chosen="yes: 7 rotations, one of them by 0 degrees, each with and without the flip",
        alternatives=("no: the original and 14 more",),
        where="eifn.augment:VIEWS",
    ),
    # The evaluation.
    Unsaid(
        topic="test images",
        question="Is a test image seen in one view or in all 14?",
        chosen="as it is: one view",
        alternatives=("the mean of the probabilities of its views",),
        where="eifn.training:Trainer.predict",
        effect="on synthetic faces, 35 sequences of unseen people: EIFN 27 right in one view and 27 in the "
        "mean of 14, EIFN* 29 and 28, EFN 27 and 29",
    ),
    Unsaid(
        topic="folds",
        question="Which subjects are in which fold?",
        chosen="every tenth of the sorted subjects",
        alternatives=("contiguous blocks of the sorted subjects, on request", "a random split"),
        where="eifn.folds:subject_folds",
        effect="not measured between ways to deal out subjects; dealing out frames instead, which is a leak, "
        "gives EFN 99.0 % instead of 76.2 % of the frames of synthetic faces",
    ),
    Unsaid(
        topic="frame or sequence",
        question="Is accuracy counted over frames or over sequences?",
        chosen="both are reported; Table 3 fits sequences, and so frames too, Table 4 fits frames only",
        alternatives=("frames only", "sequences only, by their mean probabilities or by a vote"),
        where="eifn.results",
        effect="on synthetic faces, 18 recorded runs: accuracies differ by at most 0.97 points",
    ),
    Unsaid(
        topic="average of the 10 runs",
        question="Is it the mean of the folds' accuracies, or the accuracy of all predictions pooled?",
        chosen="both are reported; Tables 3 and 4 give EIFN's accuracy when pooled",
        alternatives=("the mean only", "ten repetitions of the whole cross-validation"),
        where="eifn.results",
        effect="on synthetic faces, 18 recorded runs: accuracies differ by at most 0.22 points",
    ),
)
"""The register of what the paper leaves unsaid."""
