"""Bounds the likelihood of images under a variational autoencoder, by importance sampling (Burda et al. 2016)."""

from lab10.cli.arguments import add_split, data_overrides, run_parser
from lab10.cli.script import ScriptResult, run_script


def main(arguments: list[str]) -> ScriptResult:
    parser = run_parser(__doc__)
    add_split(parser)
    parser.add_argument(
        "--samples", type=int, default=5000, metavar="K", help="latent vectors drawn for each image (default: 5000)"
    )
    parser.add_argument("--images", type=int, metavar="N", help="only the first N images of the split (default: all)")
    args = parser.parse_args(arguments)

    from lab10.inspection.load import load
    from lab10.inspection.vae_run import VAERun

    run = load(args.directory, args.checkpoint, **data_overrides(args))
    if not isinstance(run, VAERun):
        raise run.unsupported("estimate the likelihood of images")
    result = run.importance_weighted_bound(args.split, args.samples, args.images)
    text = (
        f"{args.split}, first {result['examples']} images, step {result['step']}: -log p(x) is at most "
        f"{result['importance_weighted_bound']:.2f} nats (standard error {result['standard_error']:.2f}), "
        f"by {result['samples']} samples of each posterior"
    )
    if result["per_example"]:
        text += f"\nValues of each image: {result['per_example']}"
    return result, text


if __name__ == "__main__":
    run_script(main)
