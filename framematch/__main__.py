"""`python -m framematch`: the same as the command `framematch`."""

from framematch.cli.app import main

if __name__ == "__main__":
    main()
