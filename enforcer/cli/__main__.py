"""``python -m enforcer.cli`` is the command ``enforcer``."""

from enforcer.cli.main import main

main()
