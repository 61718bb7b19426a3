"""The pages of codes that come from checks, not from rules: `diagnose explain CODE` shows them.

The page of a rule is its docstring. Each of these is also docs/rules/CODE.md, word for word (a test compares).
"""

from __future__ import annotations

from typing import Final

PAGES: Final = {
    "optimization-failure": """\
The training error is too high because the optimisation failed, or was cut short.

## What it means
`diagnose_gap` found a training error above the target, beyond its noise, and a training that diverged, jumps, stands
still, or still falls; or an experiment with another learning rate lowered the error. The capacity of the model is not
what limits it as far as can be seen: a larger model would be trained as badly.

## What to do
Change the learning rate as the first recommendation says, then train on until the loss has settled. Where the curve
alone does not tell (a model that is too small also learns slowly), `probe=True` with a `train_fn` makes the
experiments. See the guide docs/guides/my-test-error-is-bad.md.
""",
    "evaluation-bug": """\
The test error is not that of the model: its evaluation is broken.

## What it means
The test error is one of guessing although the model has learned; or the test labels fit once they are moved by a row,
or renumbered; or another error was told than the model has on these data in evaluation mode. Nothing can be concluded
about the model from such a number.

## What to do
Compare one batch of the test loader with one of the training loader: ranges, channel order, the order of the labels
and of the rows, the mode of the model. Then measure again.
""",
    "leak": """\
The test error is better than it can be, or the training data hold the answer.

## What it means
Test rows are training rows, bit for bit; one feature alone follows the label as only a copy of it would; or the test
error is below that of people, or of the best known, beyond its noise.

## What to do
Split before anything is computed from the data (scaling, selection of features, oversampling), by groups and by time
where rows belong together. Take the feature out. Then train and measure again.
""",
    "distribution-mismatch": """\
The test data are not like the training data, or are prepared otherwise.

## What it means
The test error is above that of held-out training data (train-dev) by more than chance allows; or a classifier tells
test inputs from training inputs. No change of the model closes such a gap.

## What to do
First rule out the preparation: the same scaling, channel order, tokenisation, and missing values in both. If the data
really differ, collect or make training data like those of the test, and keep a train-dev set of the old kind.
""",
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
    "frozen-tensor-changed": """\
A parameter or buffer that is to be frozen is not what it was before the training.

## What it means
`assert_frozen` copied it before the training and compared it afterwards, bit for bit. A parameter moves if an optimizer
holds it: by its gradient, or, where there is none, by weight decay and momentum. The running statistics of a batch
normalisation move in the forward, in training mode, whatever requires a gradient.

## What to do
- Set `requires_grad_(False)` before the optimizer is built, and build it from those that require a gradient.
- Call `eval()` on the frozen part after every `model.train()`, or override its `train()`.
- If only the running statistics may move, say so: `assert_frozen(..., buffers=False)`.
""",
    "no-optimizer-step": """\
A training made no step of a `torch.optim.Optimizer`.

## What it means
An assertion ran a training and watched it, and no optimizer stepped: there is nothing that could be asserted of it. A
test that passes all the same would say nothing.

## What to do
Look for the missing `optimizer.step()`. The assertions take a function that runs the whole loop, a function that makes
one whole step, a generator that steps whenever it is advanced, or a module with a batch. Optimizers that are not
subclasses of `torch.optim.Optimizer`, and training in other processes, are not seen.
""",
    "nothing-to-assert": """\
An assertion has seen nothing of what it is about.

## What it means
No ReLU in a training whose units are to be alive, no weight that an optimizer holds, too few examples to call a unit
dead (64 are needed: a healthy one may be silent for a few). An assertion that has looked at nothing must not pass.

## What to do
Give more examples per batch, or more steps; name the model with `model=`. If there is nothing of the kind in the model,
take the assertion away.
""",
    "wrong-output": """\
What a model returns has another shape, another type or other values than its test says.

## What it means
`assert_output_shape_and_finite` ran the model on a batch and compared. A dimension that is swapped, squeezed or
broadcast often raises no error anywhere: the loss is computed over the wrong pairs, and training merely gets worse.

## What to do
Print the shapes from the last layer backwards until they are right. For values out of range, look at the last layer:
softmax or sigmoid for shares, none for logits and for regression.
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
    "outputs-differ": """\
Two ways to compute the same output give different ones.

## What it means
An assertion ran a model and what it is to agree with: a reference, itself under autocast or compiled, or itself for
inputs whose change must not matter (more padding, another order, another memory layout). The outputs differ by more
than the tolerances, which by default are those of `torch.testing.assert_close` for their type. The finding names the
largest difference and its place.

## What to do
Compare layer by layer to find the first one that differs. If only the last digits do, sums are computed in another
order: say how much may differ with `rtol` and `atol`. If padding matters, look at masks, at means over positions, and
at batch normalisation.
""",
    "graph-break": """\
A compiled model falls apart into several graphs, or is compiled again and again.

## What it means
`assert_compiles` counted the graphs that `torch.compile` made. Where the graph breaks, Python takes over, and what
stands before and after cannot be fused. What is compiled again for each new size pays for the compiler each time.

## What to do
`TORCH_LOGS=graph_breaks,recompiles` names the lines and the guards. Take prints, `.item()`, `.numpy()` and branches
on the values of tensors out of the forward; mark sizes as dynamic with `torch._dynamo.mark_dynamic`.
""",
    "accumulation-differs": """\
Gradients of a batch are not those of its parts, added up.

## What it means
`assert_accumulation_equivalent` computed the gradient of a batch, and of equal parts of it whose losses were divided
by their number. With gradient accumulation the model is trained on the latter: it is another training than with the
larger batch that it stands for.

## What to do
Divide by the count of the whole batch (the tokens of all parts that are not padding), not by that of each part, and
do not sum losses over examples. Batch normalisation always differs: its statistics are those of a part.
""",
    "expectation-not-met": """\
A trained model does not do what its test expects of it.

## What it means
`assert_directional` changed the inputs in a way that has to move the score, and it did not move, or moved the other
way; or `assert_accuracy_at_least` asked for examples that the model has to know, and it does not.

## What to do
Look at the examples that the finding names, and at training examples like them. Check that inputs are prepared as
they are in training.
""",
    "wrong-device": """\
Parameters or buffers of a model are not on the device on which they are to be.

## What to do
Call `model.to(device)` before the optimizer is built, and keep tensors in buffers (`register_buffer`) rather than in
plain attributes, which `to` does not move.
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
    "host-sync": """\
A step makes the CPU wait for the GPU.

## What it means
`assert_no_host_sync` ran the step with `torch.cuda.set_sync_debug_mode("error")`, which raises where a value is read
from the device. While the CPU waits it queues no work, and the device runs dry.

## What to do
Keep losses and metrics on the device and read them every hundred steps; use `torch.where` instead of branches on
tensors, `non_blocking=True` with pinned memory for copies, and `torch.nn.utils.clip_grad_norm_` without looking at
what it returns.
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
    "suspect-labels": """\
Labels that a good model contradicts, where it is surest.

## What it means
`diagnose.mine_mistakes`, `diagnose mistakes` or a tracked training compared the probability of each given label with
that of the best other class: the margin. A model's own mistakes are where it is unsure, but labels that are not true
do not ask how sure the model is. On the quarter of the examples where it is surest it contradicts more than 1 % of the
labels, by the whole interval, and not far fewer than elsewhere. In a tracked training, mean margins far below 0 are a
hill of their own.

Suspect is not wrong. Where people looked at labels that such a method had flagged, about half were right. As an info:
the model errs on more than a fifth of all examples, so that many of the suspects are its own mistakes.

The evidence is strongest from a tracked training (the mean over the epochs), then from out-of-fold probabilities
(`probabilities=`), and weakest from a trained model that was trained on these labels: it learns them by heart, so that
no finding does not mean that all labels are true.

## What to do
- Look at the examples, the lowest margin first (`mistakes.suspects`), and let a second person look.
- Correct what is not true and keep what is merely hard; delete nothing by rule, least of all from test data.
- If there are many, look for their common cause: one source, one annotator, one class, a shifted file.

## Source
Goodfellow, Bengio & Courville, *Deep Learning*, section 11.5; Pleiss et al., "Identifying mislabeled data using the
area under the margin ranking", 2020; Northcutt et al., "Pervasive label errors in test sets", 2021.
""",
    "confused-classes": """\
A class is often taken for one other class.

## What it means
More than a tenth of the class, by the 99 % interval, is taken for this one other class, and three times as much as if
its mistakes were spread evenly. As a warning: more than half of it is, so that the class is not known at all.
Nothing is said of a model that is no better than always naming the most frequent class, unless a class is not known.

## What to do
- Look at examples of both side by side. What a person cannot tell apart from what the model is given, it cannot either:
  a higher resolution, another channel, or one class in place of two.
- Otherwise more examples of this pair help most, of the rarer one first.
- Where nearly all of a class is taken for another one, compare the order of the class names, and how labels are made.
""",
    "weak-slice": """\
The error of a group of examples is above that of the rest.

## What it means
Examples were grouped by the columns of the metadata that `mine_mistakes` was given, and pairs of columns. The error of
the group is higher than can be by chance, corrected for all groups that were tried (Holm's method, at 1 %). Without
labels, as in a regression, losses are compared by their ranks, and the medians are shown.

## What to do
- Count the group's training examples: of what is rare, more is needed.
- Look at its examples of highest loss: are they recorded, scaled, cut or labelled otherwise?
- A group may be harder and nothing wrong with it. Its error is what its users will see, whatever the mean says.

## Source
Holm, "A simple sequentially rejective multiple test procedure", 1979; Chung et al., "Slice Finder", 2019.
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
    "duplicate-examples": """\
Examples are in the data more than once.

## What it means
The inputs of these examples are equal in every value, and chance does not explain it: where rows of whole numbers are
equal by chance, many more are equal in all but one of their parts, and here they are not. A few copies are an `info`;
from 1 % of the examples on they are a `warning`, because after a random split about that share of the test set has been
trained on.

## What to do
Keep one of each, before the data are split. If copies are meant (oversampling of a rare class), split first.

## Source
Barz & Denzler, "Do we train on test data? Purging CIFAR of near-duplicates", 2020.
""",
    "conflicting-labels": """\
The same example has different labels.

## What it means
As a `warning`: examples are copies of one another, exactly or nearly, and their labels differ, so at least one of each
group is wrong. Targets that are values conflict if they differ by more than half a standard deviation of all targets.

As an `info`: inputs take so few values that examples are equal by chance. Their labels may all be right; but no model
can tell them apart, and the message says which error that leaves.

## What to do
Look at each group, and keep one example with the right label. If the labels of one source are mostly the wrong ones,
look at how they came in: a join, a sort, an older version of the list of classes.

## Source
Northcutt, Athalye & Mueller, "Pervasive label errors in test sets destabilize machine learning benchmarks", 2021.
""",
    "non-finite-inputs": """\
Inputs or targets are NaN or infinite.

## What it means
The finding counts the examples with such values. A single one makes the loss of its batch NaN, and with it all weights
from that step on.

## What to do
Find where they come from: missing values, a division by a standard deviation of zero, the logarithm of zero. Fill them
in or leave the examples out before training.
""",
    "label-outside-classes": """\
Labels are not numbers of classes.

## What it means
A label is negative, or not below the number of classes. On a GPU this ends in a device-side assertion far from its
reason. The label -100, which losses leave out by default, is not counted.

## What to do
Map the labels to 0 ... K - 1. They may be counted from 1, or a code (-1, 255) may stand for "unknown": give that to the
loss as `ignore_index`.
""",
    "single-example-class": """\
A class has one example only.

## What it means
It cannot be both in the training set and in the test set: its error is unknown, or certain. Often it is a label that
was mistyped. Nothing is said where most classes are that small.

## What to do
Look at the example. Correct its label, collect more of its class, or merge the class with another one.
""",
    "near-duplicate-examples": """\
Examples are nearly equal to others.

## What it means
Images, signals and rows of tables: a pair is much nearer than the density of the data around it makes likely, in as
many dimensions as the data vary there. For images a shift by a pixel, brightness and contrast do not count. So digits
that look alike are no duplicates, and a copy with some noise is. Texts: at least 80 % of their shingles (three words
in a row) are common, and texts are not made from templates.

A few are an `info`, from 1 % of the examples on a `warning`.

## What to do
Keep one of each, or keep each group on one side of every split: frames of one film, crops of one picture, scans of
one page.

## Source
Facco et al., "Estimating the intrinsic dimension of datasets by a minimal neighborhood information", 2017; Simard,
LeCun & Denker, "Efficient pattern recognition using a new transformation distance", 1993; Broder, "On the resemblance
and containment of documents", 1997; Barz & Denzler, "Do we train on test data?", 2020.
""",
    "differently-normalized-examples": """\
Some examples, or the test set, are of another scale than the rest.

## What it means
A group of examples is separated by a gap, by a factor of three or more, from all others in scale; it shows the same
things, and of a table most columns are concerned. Or images with negative values are among images that have none.
Between two sets (`compare`), an `error`: scales overlap by less than 5 % and differ by a factor of three, or only one
of the sets has negative values.

## What to do
Prepare all data by one function, with the mean and the standard deviation of the training set. The message says
between which values both lie: 0 to 255 beside 0 to 1 is a division that is missing, or was done twice.
""",
    "inverted-images": """\
Images have bright and dark exchanged.

## What it means
Their ground is bright where that of nearly all others is dark, or the reverse, and exchanging both makes them like
the others. Photographs have no such ground, and nothing is said of them.

## What to do
Invert them when they are loaded, or teach both by augmentation if both will be met later.
""",
    "outlying-examples": """\
Examples have a value that lies far outside of the rest.

## What it means
A column of a table, the target of a regression, or the mean or the contrast of an image, is at least twice as far from
the median as that of all others, and the gap is wider than tails as heavy as a power law explain. A `warning` if it is
ten times as far, as a slipped decimal point or a code for missing values (-999) is; else an `info`, for rare things lie
outside too.

## What to do
Look at the examples: the evidence says which value of each is meant. Correct or leave out what is wrong, keep what is
only rare. A heavy-tailed column is better given as its logarithm.

## Source
Hill, "A simple general approach to inference about the tail of a distribution", 1975; Rényi, "On the theory of order
statistics", 1953.
""",
    "blank-images": """\
Images show nothing.

## What it means
All values are one and the same, or nearly so: less than a tenth of the usual contrast, separated by a gap from all
other images, and nothing like what these show. If most of a class are blank, that is what the class means: an `info`.

## What to do
Look for files that could not be read, for crops beyond the edge, for a mask that covers everything. Leave such
examples out: their labels can only be learned by heart.
""",
    "empty-texts": """\
Texts hold no word, or sequences nothing but padding.

## What it means
After cleaning and tokenizing, nothing is left of these examples. Nothing is said of sequences if as many are nearly
empty, as among counts and codes of categories. A mean over no positions is NaN; a softmax over
positions that are all masked is, too.

## What to do
Leave them out, and find where they come from: missing fields that were read as empty texts, or cleaning that removes
all.
""",
    "truncated-texts": """\
Texts were cut.

## What it means
Many more texts have exactly the greatest length than the lengths just below, or a few are far shorter than all
others. Where half of all have the greatest length, they are blocks on purpose, and nothing is said.

## What to do
Check what is lost behind the end. Raise the limit of the tokenizer, keep the part that matters, or cut into windows.
""",
    "rare-class": """\
Classes have far fewer examples than others.

## What it means
A class has less than a tenth of the examples that each would have were all of one size. It is an `info` unless the
model's error on rare classes is known and is higher than on the others by ten points or more, by the lower end of a
Newcombe interval: then a `warning`.

## What to do
Collect more of them, weight their loss, or draw them more often; report the error of each class, for the mean over
all examples hides that of rare ones. After reweighting, probabilities are those of the reweighted world.

## Source
He & Garcia, "Learning from imbalanced data", 2009; Newcombe, 1998.
""",
    "ambiguous-examples": """\
Many examples lie between two classes.

## What it means
The model's two highest probabilities differ by less than .1, for at least 1 % of the examples.

## What to do
Look at some. If you cannot tell either, ask for a second label, allow for both, or let the model abstain. If you can,
the model has not learned what tells these classes apart.
""",
    "train-test-duplicates": """\
Test examples are in the training set.

## What it means
They are equal to training examples in every value, or nearly so, beyond what chance and the density of the data
explain (see `duplicate-examples` and `near-duplicate-examples`). The model has learned them by heart, so that the
test error is too small, and what is chosen by it is chosen for memory.

## What to do
Take them out of the training set, rather than out of the test set, and train again. Then split by what belongs
together (patient, film, page), before anything is copied or resampled.

## Source
Kapoor & Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science", 2023; Barz & Denzler,
2020.
""",
    "channels-reversed": """\
One of two sets has its colour channels in the reverse order.

## What it means
The first channel is, on average, as much above the last in the test set as it is below it in the training set, by six
standard errors. Within one set that cannot be known, and not where colours are balanced.

## What to do
OpenCV reads BGR, Pillow and torchvision RGB: read both sets with the same library, or flip one with `image[...,
::-1]`.
""",
    "class-not-in-training": """\
Test examples are of a class that training never shows.

## What it means
No model that was trained on this training set can be right about them.

## What to do
Number the classes by one list (sorted names of folders differ where a folder is missing), and split so that each
class is on both sides.
""",
}
