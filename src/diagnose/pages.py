"""The pages of codes that come from checks, not from rules: `diagnose explain CODE` shows them.

The page of a rule is its docstring. Each of these is also docs/rules/CODE.md, word for word (a test compares).
"""

from __future__ import annotations

from typing import Final

PAGES: Final = {
    "wrong-gradient": """\
A back-propagated gradient differs from what the function does when its input is moved.

## What it means
`check_gradients` compared the gradient with centered differences, and they differ by more than rounding and curvature
explain. The finding names the tensor, its worst element, both values, and, where it can be told, the module or the
`autograd.Function` whose backward is wrong and what the error looks like: a flipped sign, a factor, zeros in a part.

A backward that gives different results for the same upstream gradient, or that is not linear in it (it clamps,
normalises or ignores it), is wrong too, even where the numbers happen to agree.

## What to do
Correct the backward, and check it alone: see the guide docs/guides/check-a-custom-backward.md. A backward
that differs on purpose (a straight-through estimator, gradient reversal, clipping inside of the model) is reported
all the same; leave its tensors out with `parameters=[...]`.
""",
    "unresolved-gradient": """\
A gradient could be neither confirmed nor refuted.

## What it means
Differences of the outputs drown in rounding noise before they are precise enough to see a fault of 10 %, or two runs of
the forward with the same seed differ. The check says so rather than call it right.

## What to do
- Check in float64: pass float64 inputs and modules, or let the check make a float64 copy (the report's notes say why
  it could not).
- Bring inputs and outputs to a size around 1; take a large constant out of the output.
- Draw random numbers from torch, Python or NumPy, whose states the check can put back, or from a `torch.Generator` that
  is an attribute of the module.
""",
    "tiny-batch-not-fitted": """\
The model cannot learn a single example, or a few, by heart.

## What it means
`diagnose.checks.fit_tiny` trained a copy on one example, then on eight, with a ladder of learning rates, and the loss
stands still above the least one that there is. The least loss is found by moving the outputs themselves, without the
network, so that soft labels and smoothing count. The finding says which layers did not move, whether outputs differ
from example to example, and whether the last activation keeps them from where the loss wants them.

As a warning "by OPTIMIZER ..., and by ... it is": another learning rate fits the examples, so that the optimisation is
at fault and not the model. As an info: the loss was still falling when the steps were over, or the model has few
parameters for so many targets.

## What to do
- Follow `requires_grad` from the output back to the layers that did not move.
- Compare two examples layer by layer: the first layer whose outputs are equal is where to look.
- Look at what the loss is given: its shape, its range, and the dimension that it sums over.

## Source
Goodfellow, Bengio & Courville, *Deep Learning*, section 11.5; Karpathy, "A Recipe for Training Neural Networks", 2019.
""",
    "input-ignored": """\
An input, or a feature of it, changes nothing in the outputs.

## What it means
`diagnose.checks.input_sensitivity` gave a tensor among the inputs the values of other examples, and the outputs stayed
the same; or a feature (of images: a channel) has no gradient, and changes nothing when it gets other values. It was
tried once more with a little noise on the parameters, so that a layer that begins at zero is not the reason.

## What to do
Follow the input through `forward`: it is not used, overwritten, sliced away, or multiplied by zero. If it is not meant
to matter, leave it out of the batch.
""",
    "not-reproducible": """\
Two runs with the same seed differ.

## What it means
`diagnose.checks.determinism` trained two copies for a few steps with the random numbers of torch, Python and NumPy
seeded alike, and compared the outputs of all modules, losses and gradients bit for bit. The finding names what
differs first, and by how much. A difference in the last digits is an info: the order of sums is not fixed on a GPU.

## What to do
Look at the module that is named, for a generator of its own without a seed (`numpy.random.default_rng()`), the clock,
the order of a set, or state that is kept outside of the module. For the order of sums,
`torch.use_deterministic_algorithms(True)`.
""",
    "wrong-optimizer-step": """\
An optimizer moves the parameters otherwise than its rule says.

## What it means
`diagnose.checks.descent` made some steps with the optimizer that it was given, and computed the same steps from the
published formula with the options of its parameter groups. They differ by more than rounding. Checked are SGD with
momentum, Nesterov momentum and weight decay, Adam, AdamW, RMSprop and Adagrad, and classes derived from them.

## What to do
Compare `step` with the formula, term by term: where weight decay is added, whether the bias correction counts steps
from 1, whether epsilon stands inside of the root. A class that changes the rule on purpose is better not derived from
the optimizer whose rule it leaves.
""",
}
