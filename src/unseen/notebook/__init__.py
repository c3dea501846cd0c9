"""How results and answers show in a terminal and in a notebook."""
