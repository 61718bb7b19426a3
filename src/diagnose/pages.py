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
    "below-baseline": """\
A model is no better than a much simpler one.

## What it means
The check `baseline` evaluated the trained model on test data, beside the best constant, a linear model and the default
baseline (`diagnose.default_baseline`), all fitted to the same training data. They are compared on the same examples,
with 95 % confidence intervals of the paired differences, by two measures (such as the error rate, and the error rate
with all classes weighted alike); a model is called worse only if it is so significantly, and by a tenth, by both.

Worse than a constant is an `error`, no better than a constant or worse than the other two a `warning`. If there are too
few examples to tell the model from a constant, that is an `info`.

## What to do
- Evaluate the model on its training data. If it fails there too, training does not work: `fit_tiny`, `descent` and a
  watched run tell why. If it does not, look for differences between training and test data: scaling, order of features,
  preprocessing, evaluation mode, weights that were not loaded.
- Begin with the default baseline, and change one thing at a time.
- Give `predict` if the model's output is not logits or values.

## Source
Goodfellow, Bengio & Courville, "Deep Learning", section 11.2; Karpathy, "A Recipe for Training Neural Networks", 2019.
""",
    "invariant-broken": """\
Something that was declared to hold at every training step does not.

## What it means
The check `guarantees` trained a copy of the model for some steps and asked each invariant after each of them: those
that were declared (`invariants={"name": function}`), and that attention weights sum to 1 and are 0 where masked. The
finding says at which step it was broken first, how often, and by how much.

## What to do
- Construct what has to hold, so that it holds for every value of the parameters: softplus for positive numbers, softmax
  for weights, a Cholesky factor for covariances, a parametrisation for orthogonal matrices
  (`torch.nn.utils.parametrizations`).
- Or project after each step, and check after the projection.
- Apply masks before the softmax, by adding -inf.
- A monotone objective (EM, an exact line search) that turns points to an error in one of its two halves.

## Source
Goodfellow, Bengio & Courville, "Deep Learning", section 11.5, "Debugging Strategies".
""",
    "train-eval-mismatch": """\
Training and evaluation mode compute different functions, and dropout and batch statistics do not explain it.

## What it means
The check `train_eval_consistency` switched dropout off on a copy, let running statistics settle on the batch, and
compared outputs in both modes. They have to agree; here they do not:

- A batch normalisation evaluates with other statistics than it is trained with: `momentum=0` never moves them (torch's
  momentum is the weight of the *new* batch), or one module normalises at several places with different distributions.
- A branch on `self.training` computes something else: a layer, a scale, a normalisation of one's own whose statistics
  do not follow.

A softmax or sigmoid that is only applied in evaluation mode, and a momentum of 0.99 (Keras' convention), are an `info`.

## What to do
- `momentum=0.1`, or `None` for the average of all batches; one normalisation for each place.
- Compute the same in both modes but for noise, and scale noise so that its mean is what evaluation computes: dropout
  divides by 1 - p while training.

## Source
Ioffe & Szegedy, "Batch Normalization", 2015; Srivastava et al., "Dropout", 2014.
""",
    "hard-coded-dtype": """\
A tensor of a fixed type does not follow when the model is cast to another one.

## What it means
The check `device_and_dtype_transfer` cast a copy of the model and its inputs to float64, bfloat16 and float16, and an
operation was given two types and raised. The finding names the line that made the tensor that stayed behind, or the
plain attribute that holds it; or the constant that is too large for 16 bits. An output that is float32 in a float64
model is an `info`.

## What to do
- `x.new_zeros(...)`, `torch.zeros_like(x)`, or `dtype=x.dtype`.
- Keep constant tensors in buffers: `self.register_buffer("scale", ..., persistent=False)`.
- `torch.finfo(x.dtype).min`, or `-inf`, in place of `-1e9`.

## Source
PyTorch documentation: `nn.Module.register_buffer`, "Tensor Attributes".
""",
    "hard-coded-device": """\
A tensor on a fixed device does not follow when the model is moved to another one.

## What it means
The check `device_and_dtype_transfer` moved a copy of the model and its inputs to the meta device, where shapes and
devices are followed without computing, and to a GPU if there is one. An operation was given tensors on two devices,
or a device was asked for that is not there. The finding names the line that made the tensor, or the attribute that
holds it.

## What to do
- `x.new_zeros(...)`, `torch.zeros_like(x)`, or `device=x.device`.
- Keep constant tensors in buffers, and modules as attributes or in `nn.ModuleList`: `.to()` moves only these.

## Source
PyTorch documentation: "CUDA semantics", "Meta device".
""",
}
