"""``python -m rehearse`` is the command line."""

from rehearse.cli.main import main

main()
