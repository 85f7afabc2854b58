"""The checkout's door to the `g5` command: `python main.py ...` without an installation."""

from g5.cli.main import main

if __name__ == "__main__":
    main()
