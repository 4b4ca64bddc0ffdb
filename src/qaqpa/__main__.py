"""`python -m qaqpa` is `qaqpa`."""

from qaqpa.cli import main

if __name__ == "__main__":
    main()
