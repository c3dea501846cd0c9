"""Ideas of what is worth a label, one file each, all with the contract of `contract.py`."""
