"""`python -m remixbench`, as torchrun and job arrays call it."""

from remixbench.cli import main

if __name__ == "__main__":
    main()
