"""`diagnose check-gradients FACTORY`: are the gradients of a function or a model right?"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diagnose.cli._parser import RAW
from diagnose.errors import ConfigError, FactoryError

if TYPE_CHECKING:
    from diagnose.program.factory import Made

STDOUT: Final = Path("-")
MODES: Final = ("auto", "screen", "sampled", "exhaustive")
DTYPES: Final = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")

_DESCRIPTION: Final = """\
Compares back-propagated gradients with centered differences: of all inputs and
all parameters, on copies. FACTORY is MODULE:NAME or FILE.py:NAME, a function
without arguments that returns a module, (module, inputs), (function, inputs),
(module, inputs, loss_fn) or (module, inputs, loss_fn, targets).

Exit code: 0 all right, 1 a gradient is wrong or unresolved, 2 wrong usage.
"""

_EPILOG: Final = """\
examples:
  diagnose check-gradients ops.py:make_op
  diagnose check-gradients models.net:build --input-shape 8,3,32,32
  diagnose check-gradients ops.py:make_op --second-order --json report.json
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "check-gradients",
        usage="diagnose check-gradients [OPTIONS] FACTORY",
        help="compare gradients with differences",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RAW,
    )
    parser.add_argument("factory", metavar="FACTORY", help="MODULE:NAME or FILE.py:NAME")
    parser.add_argument(
        "--input-shape",
        metavar="SHAPE",
        type=shape,
        action="append",
        help="make up a normally distributed input, as 8,3,32,32; once per input, if the FACTORY returns none",
    )
    parser.add_argument("--dtype", choices=DTYPES, help="check in this precision (default: as the FACTORY made it)")
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="auto",
        help="auto: screen along random directions, single elements where that fails (default); screen, sampled: "
        "only a few elements; exhaustive: every element",
    )
    parser.add_argument("--second-order", action="store_true", help="also check gradients of gradients")
    parser.add_argument("--no-parameters", action="store_true", help="check inputs only")
    parser.add_argument("--rtol", type=float, default=1e-4, help="relative error that is wrong (default: 1e-4)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="S", help="how long to look for wrong elements (default: 30)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of inputs, directions and dropout (default: 0)")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=STDOUT,
        help="write the report as JSON; to stdout, instead of the table, if no FILE is named",
    )
    parser.set_defaults(execute=execute, parser=parser)


def shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.replace("x", ",").split(",") if size.strip())
    except ValueError:
        sizes = (-1,)
    if any(size < 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape: write it as 8,3,32,32")
    return sizes


def execute(options: argparse.Namespace) -> int:
    """Prints the table, or the JSON, on stdout; returns 1 if a gradient is wrong or unresolved."""
    from diagnose.cli._output import print_text, write_text
    from diagnose.gradcheck import check_gradients
    from diagnose.program.factory import make

    if not options.seconds >= 0 or not options.rtol > 0:
        raise ConfigError("check-gradients: --seconds and --rtol have to be positive")
    made = make(options.factory)
    target, inputs, loss_fn = _in_dtype(made, options)
    report = check_gradients(
        target,
        inputs,
        loss_fn=loss_fn,
        parameters=not options.no_parameters,
        mode=options.mode,
        second_order=options.second_order,
        rtol=options.rtol,
        seconds=options.seconds,
        seed=options.seed,
        rerun=_command(options),
    )
    if options.json == STDOUT:
        print_text(report.to_json())
    else:
        if options.json is not None:
            write_text("--json", options.json, report.to_json())
        print_text(str(report))
    return 0 if report.ok else 1


def _in_dtype(made: Made, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The target, inputs and loss in the precision that was asked for, with inputs made up if there are none."""
    import torch
    from torch.utils._pytree import tree_map_only

    is_module = isinstance(made.target, torch.nn.Module)
    dtype = getattr(torch, options.dtype) if options.dtype else None
    inputs = made.inputs
    if inputs is None or options.input_shape:
        inputs = made_up(made, options, dtype)
    if dtype is None:
        return made.target, inputs, made.loss_of_output
    target = made.target.to(dtype) if is_module else made.target  # type: ignore[attr-defined]
    if made.targets is not None:
        made = replace(made, targets=tree_map_only(torch.Tensor, lambda t: _cast(t, dtype), made.targets))
    return target, tree_map_only(torch.Tensor, lambda t: _cast(t, dtype), inputs), made.loss_of_output


def made_up(made: Made, options: argparse.Namespace, dtype: Any = None) -> tuple[Any, ...]:
    """Inputs of the shapes that were asked for, for a module that came without."""
    import torch

    if made.inputs is not None:
        raise FactoryError(f"{options.factory} returned inputs: --input-shape is for factories that do not.")
    if made.data is not None and not options.input_shape:
        raise FactoryError(
            f"{options.factory} returned a {type(made.data).__name__}: give one batch of it, (module, inputs, loss_fn, "
            "targets)."
        )
    if not options.input_shape:
        raise FactoryError(f"{options.factory} returned a module without inputs: add --input-shape, as 8,3,32,32.")
    parameters = made.target.parameters()  # type: ignore[attr-defined]
    first = next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
    generator = torch.Generator().manual_seed(options.seed)
    return tuple(torch.randn(s, generator=generator, dtype=dtype or first) for s in options.input_shape)


def _cast(tensor: Any, dtype: Any) -> Any:
    wanted = tensor.is_floating_point() or tensor.is_complex()
    return tensor.detach().to(dtype).requires_grad_(tensor.requires_grad) if wanted else tensor


def _command(options: argparse.Namespace) -> str:
    words = ["diagnose", "check-gradients", options.factory]
    for shape in options.input_shape or ():
        words += ["--input-shape", ",".join(map(str, shape))]
    for name in ("dtype", "mode"):
        if getattr(options, name) not in (None, "auto"):
            words += [f"--{name}", getattr(options, name)]
    words += ["--second-order"] if options.second_order else []
    words += ["--no-parameters"] if options.no_parameters else []
    words += ["--seed", str(options.seed)]
    return shlex.join(words)
