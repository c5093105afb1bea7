"""Draws images, their reconstructions and the differences; optionally writes latent vectors."""

from pathlib import Path

from lab10.cli.arguments import add_split, data_overrides, run_parser
from lab10.cli.script import ScriptResult, run_script
from lab10.config.errors import UserError
from lab10.config.paths import path_of

MAX_IMAGES = 50


def main(arguments: list[str]) -> ScriptResult:
    parser = run_parser(__doc__)
    add_split(parser)
    parser.add_argument(
        "--indices",
        type=int,
        nargs="+",
        metavar="I",
        help="indices of the images in the split (default: the first ten)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PNG",
        help="PNG file to write (default: DIR/reconstructions-SPLIT-STEP.png)",
    )
    parser.add_argument(
        "--latents",
        type=Path,
        metavar="NPZ",
        help="also write latents, labels and examples (row ids) of the whole split to this file",
    )
    args = parser.parse_args(arguments)

    import numpy as np

    from lab10.inspection.autoencoder_run import AutoencoderRun
    from lab10.inspection.load import load
    from lab10.inspection.run import file_name_part

    run = load(args.directory, args.checkpoint, **data_overrides(args))
    if not isinstance(run, AutoencoderRun):
        raise run.unsupported("reconstruct images")
    if args.indices and len(args.indices) > MAX_IMAGES:
        raise UserError(f"--indices has {len(args.indices)} images; expected at most {MAX_IMAGES} in one figure.")
    figure, result = run.plot_reconstructions(args.split, args.indices)
    output = args.output or path_of(args.directory) / f"reconstructions-{file_name_part(args.split)}-{run.step}.png"
    if not args.output and output.is_symlink():
        raise UserError(f"{output} is a link, and may point anywhere. Give the file with --output.")
    result |= {"split": args.split, "step": run.step, "output": str(output)}
    try:
        figure.savefig(output, format="png")
        if args.latents:
            latents = args.latents.with_suffix(".npz")
            np.savez(latents, **run.latents(args.split))  # type: ignore[arg-type]
            result["latents"] = str(latents)
    except OSError as error:
        raise UserError(
            f"{error.filename or output} cannot be written ({error.strerror}). Choose another path."
        ) from error
    return (
        result,
        f"{output}: {len(result['indices'])} images, mean error {np.mean(result['reconstruction_error']):.4f}",
    )


if __name__ == "__main__":
    run_script(main)
