"""The criteria of a mixed batch. Each module declares `CRITERION`; nothing else lists them."""
