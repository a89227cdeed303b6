"""What every room may know: types, names, contracts. Loads neither torch nor Snakemake."""
