"""`diagnose mistakes FACTORY`, or `RUN_DIR`: what a model is most wrong about, and which labels are suspect."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diagnose.cli._parser import RAW
from diagnose.errors import ConfigError, FactoryError

if TYPE_CHECKING:
    from diagnose.mistakes import Mistakes
    from diagnose.program.factory import Made

STDOUT: Final = Path("-")
TASKS: Final = ("classification", "multilabel", "regression", "tokens", "segmentation", "language-model")

_DESCRIPTION: Final = """\
Runs a trained model once over its data, in eval mode, and lists the mistakes
that it is most sure of, the highest losses, the labels that are suspect, and
which classes are taken for which.

FACTORY is MODULE:NAME or FILE.py:NAME, a function without arguments that
returns
  (module, data)              data: a Dataset, a DataLoader (shuffled or not),
                              or (inputs, targets)
  (module, data, loss_fn)     loss_fn(output, targets): loss of each example
  (module, inputs, loss_fn, targets)      all examples as tensors
The module is to be as trained: load its weights in the FACTORY.

With RUN_DIR, the directory of a training that was watched with
--track-examples, no model is run: the lists are of what the network said
about each training example while it learned.

Exit code: 0 done, 2 wrong usage, or data or model raise an exception.
"""

_EPILOG: Final = """\
examples:
  diagnose mistakes train.py:make_trained --out mistakes
  diagnose mistakes train.py:make_trained --k 20 --classes cat,dog,horse
  diagnose run --track-examples --run-dir runs/a train.py
  diagnose mistakes runs/a --out mistakes
  diagnose mistakes train.py:make_trained --json | jq .rankings.suspects

in train.py:
  def make_trained():
      net = Net()
      net.load_state_dict(torch.load("net.pt", weights_only=True))
      return net, test_set
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "mistakes",
        usage="diagnose mistakes [OPTIONS] FACTORY|RUN_DIR",
        help="list the worst mistakes of a trained model",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RAW,
    )
    parser.add_argument("factory", metavar="FACTORY", help="MODULE:NAME or FILE.py:NAME; or a RUN_DIR")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="write mistakes.html, mistakes.json, IDs and scores of all examples (CSV, Parquet), and worst.png",
    )
    parser.add_argument("--k", metavar="K", type=int, default=64, help="how long the lists are (default: 64)")
    parser.add_argument(
        "--classes", metavar="NAMES", type=_names, help="of the classes, comma-separated, in their order"
    )
    parser.add_argument("--task", choices=TASKS, help="what is asked of the model (default: found out)")
    parser.add_argument(
        "--batch-size", metavar="N", type=int, default=256, help="where data come without (default: 256)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of augmentation and whatever else is random (default: 0)")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=STDOUT,
        help="write the lists as JSON; to stdout, instead of the tables, if no FILE is named",
    )
    parser.set_defaults(execute=execute, parser=parser)


def execute(options: argparse.Namespace) -> int:
    """Prints the tables, or the JSON, on stdout."""
    if options.k < 1 or options.batch_size < 1:
        raise ConfigError("mistakes: --k and --batch-size have to be at least 1")
    from diagnose.cli._output import print_text, write_text

    mistakes = _tracked(options) if Path(options.factory).is_dir() else _mined(options)
    if options.out is not None:
        mistakes.save(options.out)
    if options.json is not None:
        text = json.dumps(mistakes.to_json(), indent=2, allow_nan=False)
        if options.json == STDOUT:
            print_text(text)
            return 0
        write_text("--json", options.json, text)
    print_text(str(mistakes))
    if options.out is not None:
        print_text(f"\nwritten: {options.out} (mistakes.html shows the examples)")
    return 0


def _tracked(options: argparse.Namespace) -> Mistakes:
    from diagnose.mistakes import TrackedExamples

    return TrackedExamples.load(options.factory).mistakes(k=options.k, classes=options.classes or ())


def _mined(options: argparse.Namespace) -> Mistakes:
    from diagnose.mistakes import mine_mistakes
    from diagnose.program.factory import make

    made = make(options.factory)
    return mine_mistakes(
        made.target,
        _data(made, options.factory),
        loss_fn=made.loss_fn,
        k=options.k,
        classes=options.classes,
        task=options.task,
        batch_size=options.batch_size,
        seed=options.seed,
    )


def _data(made: Made, factory: str) -> Any:
    """Data set, loader, or (inputs, targets)."""
    if made.data is not None:
        return made.data
    if made.targets is None and made.loss_fn is None and isinstance(made.inputs, tuple) and len(made.inputs) == 2:
        return made.inputs  # (inputs, targets): two inputs without targets would be of no use here
    if made.targets is None or made.inputs is None:
        raise FactoryError(
            f"{factory} returned no data with targets: return (module, dataset), (module, loader), (module, (inputs, "
            "targets)), or (module, inputs, loss_fn, targets)."
        )
    if isinstance(made.inputs, dict):
        return {**made.inputs, "targets": made.targets}
    return (made.inputs[0] if len(made.inputs) == 1 else made.inputs, made.targets)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
