"""Run the command line: ``python -m spec_kitty_orchestrator``."""

from spec_kitty_orchestrator.cli import main

if __name__ == "__main__":
    main()
